import type { Changed, CrmClient, PageEnd } from '@lockstep/crm-client';
import type { ProducedMessage, Producer } from '@lockstep/kafka';
import { type ModuleDefinition, topicOf } from '@lockstep/modules';
import type { CatchUpResult, RegisterReader } from '@lockstep/postgres';

import type { DeadLetters } from '../dead-letters.ts';
import { lookMessages, type Said } from '../record-publisher.ts';
import { sightingOf, unreadable } from '../sighting.ts';

export type ReadWindowDeps = {
  readonly crm: Pick<CrmClient, 'changedSince'>;
  readonly producer: Pick<Producer, 'send'>;
  readonly register: Pick<RegisterReader, 'known'>;
  readonly deadLetters: DeadLetters;
  readonly signal: AbortSignal;
};

/** What a reading of a window came to. `isWhole` is false when there is more in it than queries are the right way for. */
export type WindowRead = Pick<CatchUpResult, 'rows' | 'seen' | 'unhinted'> & {
  readonly isWhole: boolean;
  /** Not later than the beginning of the first call, epoch milliseconds of the CRM. */
  readonly startedMs: number;
};

/** Beyond this a bulk read is cheaper: 50 credits for up to 200,000 rows against 3 for 2,000. */
export const MAX_WINDOW_ROWS = 33_000;

/**
 * Reads every record changed since a time, in the order of (`Modified_Time`, id), and writes down what was seen. Returns once
 * Kafka has all of it.
 */
export async function readWindow(deps: ReadWindowDeps, module: ModuleDefinition, from: Date, maxRows = MAX_WINDOW_ROWS): Promise<WindowRead> {
  const { crm, signal } = deps;
  const fields = module.fields.map(({ field }) => field);
  const say = lookMessages(module, 'catch-up');
  let startedMs: number | undefined;
  let after: PageEnd | null = null;
  const total = { rows: 0, seen: 0, unhinted: 0 };
  for (;;) {
    signal.throwIfAborted();
    const page: Changed = await crm.changedSince({ module: module.apiName, fields, since: from, after, signal });
    startedMs ??= page.observed.lowerMs;
    const said = await publishPage(deps, module, page, say);
    total.rows += page.records.length;
    total.seen += said.filter(({ isSeen }) => isSeen).length;
    total.unhinted += said.filter((one) => one.isUnhinted).length;
    const last = page.records.at(-1);
    if (!page.hasMore || last === undefined) return { ...total, startedMs, isWhole: true };
    if (total.rows >= maxRows) return { ...total, startedMs, isWhole: false };
    after = { modifiedTime: last.modifiedTime, id: last.id };
  }
}

async function publishPage({ register, producer, deadLetters }: ReadWindowDeps, module: ModuleDefinition, { records, observed }: Changed, say: ReturnType<typeof lookMessages>): Promise<Said[]> {
  const known = await register.known(module.apiName, records.map(({ id }) => id));
  const said: Said[] = [];
  for (const record of records) {
    const sighting = sightingOf(module, record, observed);
    if (sighting === null) await deadLetters.put([unreadable('catch-up', module, record)]);
    else said.push(say(sighting, known.get(record.id), observed.lowerMs));
  }
  const messages: ProducedMessage[] = said.map(({ message }) => message);
  if (messages.length > 0) await producer.send(topicOf(module), messages, { timeoutMs: 60_000 });
  return said;
}
