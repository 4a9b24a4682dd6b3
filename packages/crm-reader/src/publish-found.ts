import type { RecordPage } from '@lockstep/crm-client';
import { type Producer, sendBounded } from '@lockstep/kafka';
import { type ModuleDefinition, topicOf } from '@lockstep/modules';
import type { LooksAside, RegisterReader } from '@lockstep/postgres';
import { isRecordId } from '@lockstep/record-log';

import type { DeadLetter, DeadLetters } from './dead-letters.ts';
import { type LookMessages, lookMessages } from './record-publisher.ts';
import { refusedRow, sightingOf, tooLarge, unreadable } from './sighting.ts';
import { believing, type WholeTextsSource } from './whole-texts.ts';

export type PublishFoundDeps = {
  readonly producer: Pick<Producer, 'send'>;
  readonly register: Pick<RegisterReader, 'known'>;
  readonly deadLetters: DeadLetters;
  /** Where records are kept that cannot be read: they are looked at again from there. */
  readonly aside: Pick<LooksAside, 'keep'>;
  readonly epsilonMs: number;
  /** Reads again what a query may have cut; without it every text is believed. */
  readonly texts?: WholeTextsSource;
};

/**
 * Writes down a page of records that a query found. Returns once Kafka has all of it but what no message takes and what cannot be read: that is kept aside, row by row.
 * @param origin `bulk` for what a bulk read left out.
 * @param reading names it, e.g. `catch-up 17`.
 */
export async function publishFound(deps: PublishFoundDeps, module: ModuleDefinition, origin: 'catch-up' | 'bulk', reading: string, { records, refused = [], observed }: RecordPage, signal?: AbortSignal): Promise<LookMessages[]> {
  const { register, producer, texts = believing, epsilonMs } = deps;
  const known = await register.known(module.apiName, records.map(({ id }) => id).filter(isRecordId));
  const say = lookMessages(module, origin, epsilonMs);
  const said: LookMessages[] = [];
  const bad = refused.map((row) => refusedRow(origin, module, row));
  for (const record of await texts.complete(module, { records }, signal)) {
    const sighting = sightingOf(module, record, observed);
    if (sighting === null) bad.push(unreadable(origin, module, record));
    else said.push(say(sighting, known.get(record.id), { lowerMs: observed.lowerMs, name: reading }));
  }
  const large = await sendBounded(producer, topicOf(module), said.flatMap((one) => one.messages), { timeoutMs: 60_000 });
  await keepAside(deps, module, [...bad, ...large.map((one) => tooLarge(origin, module, one))]);
  return said;
}

/** A dead letter is written for what is new: every catch-up may meet the same record. One without an id cannot be recognised. */
async function keepAside({ aside, deadLetters }: PublishFoundDeps, { apiName }: ModuleDefinition, bad: readonly DeadLetter[]): Promise<void> {
  if (bad.length === 0) return;
  const fresh = new Set(await aside.keep(apiName, bad.filter(({ key }) => isRecordId(key)).map(({ key: id, code, cause }) => ({ id, code, cause }))));
  await deadLetters.put(bad.filter(({ key }) => !isRecordId(key) || fresh.has(key)));
}
