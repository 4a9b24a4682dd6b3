import type { RecordPage } from '@lockstep/crm-client';
import type { Producer } from '@lockstep/kafka';
import { type ModuleDefinition, topicOf } from '@lockstep/modules';
import type { RegisterReader } from '@lockstep/postgres';
import { isRecordId } from '@lockstep/record-log';

import type { DeadLetters } from './dead-letters.ts';
import { type LookMessages, lookMessages } from './record-publisher.ts';
import { sightingOf, unreadable } from './sighting.ts';
import { believing, type WholeTextsSource } from './whole-texts.ts';

export type PublishFoundDeps = {
  readonly producer: Pick<Producer, 'send'>;
  readonly register: Pick<RegisterReader, 'known'>;
  readonly deadLetters: DeadLetters;
  readonly epsilonMs: number;
  /** Reads again what a query may have cut; without it every text is believed. */
  readonly texts?: WholeTextsSource;
};

/**
 * Writes down a page of records that a query found. Returns once Kafka has all of it.
 * @param origin `bulk` for what a bulk read left out.
 * @param reading names it, e.g. `catch-up 17`.
 */
export async function publishFound({ register, producer, deadLetters, texts = believing, epsilonMs }: PublishFoundDeps, module: ModuleDefinition, origin: 'catch-up' | 'bulk', reading: string, { records, observed }: RecordPage, signal?: AbortSignal): Promise<LookMessages[]> {
  const known = await register.known(module.apiName, records.map(({ id }) => id).filter(isRecordId));
  const say = lookMessages(module, origin, epsilonMs);
  const said: LookMessages[] = [];
  for (const record of await texts.complete(module, { records }, signal)) {
    const sighting = sightingOf(module, record, observed);
    if (sighting === null) await deadLetters.put([unreadable(origin, module, record)]);
    else said.push(say(sighting, known.get(record.id), { lowerMs: observed.lowerMs, name: reading }));
  }
  const messages = said.flatMap((one) => one.messages);
  if (messages.length > 0) await producer.send(topicOf(module), messages, { timeoutMs: 60_000 });
  return said;
}
