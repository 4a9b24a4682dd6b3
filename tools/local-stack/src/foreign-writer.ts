import { type ChildProcessWithoutNullStreams, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

import { testKafkaBrokers } from './test-topic.ts';

/** A message that another application writes; to partition 0 by default. */
export type ForeignMessage = { readonly key: string | null; readonly value: string; readonly partition?: number };

/** Messages that another application writes in one transaction. */
export type ForeignTransaction = { readonly end: 'commit' | 'abort'; readonly messages: readonly ForeignMessage[] };

const program = fileURLToPath(new URL('foreign-writer.child.ts', import.meta.url));
const argumentsOf = (topic: string, transactions: readonly (Omit<ForeignTransaction, 'end'> & { readonly end: string })[]): string[] => [program, testKafkaBrokers().join(','), topic, JSON.stringify(transactions)];

/**
 * Writes transactions to a topic as another application would, one after the other, in a process of its own. Each leaves a control record behind its messages.
 * @throws {Error} with what the process said.
 */
export async function writeTransactions(topic: string, transactions: readonly ForeignTransaction[]): Promise<void> {
  await promisify(execFile)(process.execPath, argumentsOf(topic, transactions), { timeout: 60_000 });
}

/**
 * Writes messages to a topic in a transaction that stays open until it is ended, by the process of another application. It is given up at the latest a minute later, by the broker.
 * @returns ends it, once; the process ends with it.
 * @throws {Error} where the process ended early.
 */
export async function openTransaction(topic: string, messages: readonly ForeignMessage[]): Promise<(end: ForeignTransaction['end']) => Promise<void>> {
  const child = spawn(process.execPath, argumentsOf(topic, [{ end: 'later', messages }]), { stdio: 'pipe' });
  const ended = endOf(child);
  ended.catch(() => undefined);
  await Promise.race([once(createInterface(child.stdout), 'line'), tooSoon(ended)]);
  return async (end) => {
    child.stdin.end(end);
    await ended;
  };
}

async function endOf(child: ChildProcessWithoutNullStreams): Promise<void> {
  const [[code], said] = await Promise.all([once(child, 'exit'), text(child.stderr)]);
  if (code !== 0) throw new Error(`the other application ended with ${String(code)}: ${said}`);
}

async function tooSoon(ended: Promise<void>): Promise<never> {
  await ended;
  throw new Error('the other application ended before it wrote');
}
