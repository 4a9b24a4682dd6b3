import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

import { testKafkaBrokers } from './test-topic.ts';

/** Messages that another application writes in one transaction; to partition 0 by default. */
export type ForeignTransaction = { readonly end: 'commit' | 'abort'; readonly messages: readonly { readonly key: string | null; readonly value: string; readonly partition?: number }[] };

/**
 * Writes transactions to a topic as another application would, one after the other, in a process of its own. Each leaves a control record behind its messages.
 * @throws {Error} with what the process said.
 */
export async function writeTransactions(topic: string, transactions: readonly ForeignTransaction[]): Promise<void> {
  const program = fileURLToPath(new URL('foreign-writer.child.ts', import.meta.url));
  await promisify(execFile)(process.execPath, [program, testKafkaBrokers().join(','), topic, JSON.stringify(transactions)], { timeout: 60_000 });
}
