import type { RecordPage } from '@lockstep/crm-client';
import type { Producer } from '@lockstep/kafka';
import { type ModuleDefinition, topicOf } from '@lockstep/modules';
import type { RegisterReader } from '@lockstep/postgres';

import type { DeadLetters } from './dead-letters.ts';
import { lookMessages, type Said } from './record-publisher.ts';
import { sightingOf, unreadable } from './sighting.ts';

export type PublishFoundDeps = {
  readonly producer: Pick<Producer, 'send'>;
  readonly register: Pick<RegisterReader, 'known'>;
  readonly deadLetters: DeadLetters;
  readonly epsilonMs: number;
};

/**
 * Writes down a page of records that a query found. Returns once Kafka has all of it.
 * @param origin `bulk` for what a bulk read left out.
 */
export async function publishFound({ register, producer, deadLetters, epsilonMs }: PublishFoundDeps, module: ModuleDefinition, origin: 'catch-up' | 'bulk', { records, observed }: RecordPage): Promise<Said[]> {
  const known = await register.known(module.apiName, records.map(({ id }) => id));
  const say = lookMessages(module, origin, epsilonMs);
  const said: Said[] = [];
  for (const record of records) {
    const sighting = sightingOf(module, record, observed);
    if (sighting === null) await deadLetters.put([unreadable(origin, module, record)]);
    else said.push(say(sighting, known.get(record.id), observed.lowerMs));
  }
  const messages = said.map(({ message }) => message);
  if (messages.length > 0) await producer.send(topicOf(module), messages, { timeoutMs: 60_000 });
  return said;
}
