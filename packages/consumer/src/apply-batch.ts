import { crashPoint } from '@lockstep/telemetry';
import type { Pool } from 'pg';

import type { Known } from './change.ts';
import type { CoverageBook } from './coverage-book.ts';
import { type Decoded, decodeMessages, type LogMessage, type Parked } from './decode.ts';
import type { ConsumedBatch, ConsumerDefinition, Transaction } from './definition.ts';
import { ConsumerError } from './errors.ts';
import { foldEvents, type Folded } from './fold-events.ts';
import { loadNewest, storeNewest } from './newest.ts';
import { enqueue } from './outbox.ts';
import { advance, type Topic } from './positions.ts';

export type BatchDeps = {
  readonly pool: Pool;
  readonly schema: string;
  readonly definition: Pick<ConsumerDefinition, 'apply' | 'deliveryOf'>;
  readonly epsilonMs: number;
};

/** Messages of one partition, in order, and the offsets they begin and end at: those that lie between belong to no message. */
export type Batch = {
  readonly topic: Topic;
  readonly module: string;
  readonly coverages: CoverageBook;
  readonly partition: number;
  readonly from: number;
  readonly messages: readonly LogMessage[];
  /** Where the next batch begins; behind the last message by default. */
  readonly following?: number;
};

/** What a batch has done. */
export type Applied = {
  readonly next: number;
  readonly batch: ConsumedBatch;
  readonly parked: readonly Parked[];
  readonly deliveries: number;
  /** Why the partition stops at `next`; null where it goes on. */
  readonly stop: Error | null;
};

/**
 * Applies messages in one transaction: the position, the registers, and the effects.
 * @throws {ConsumerError} `POSITION_TAKEN`, `LOG_REPARTITIONED`, `EFFECT_FAILED`.
 */
export async function applyBatch(deps: BatchDeps, batch: Batch): Promise<Applied> {
  const decoded = decodeMessages(batch.messages);
  const to = decoded.stop?.offset ?? batch.following ?? (batch.messages.at(-1)?.offset ?? batch.from - 1) + 1;
  const stop = decoded.stop?.error ?? null;
  if (to === batch.from) return { next: to, batch: { changes: [], observations: [] }, parked: [], deliveries: 0, stop };
  const applied = await inTransaction(deps.pool, (client) => applyIn(client, deps, batch, decoded, to));
  crashPoint('batch-consumed');
  return { next: to, stop, ...applied };
}

async function applyIn(client: Transaction, deps: BatchDeps, batch: Batch, decoded: Decoded, to: number): Promise<Omit<Applied, 'next' | 'stop'>> {
  const { schema, definition } = deps;
  const { topic, partition, module } = batch;
  const effectsFrom = await advance(client, schema, topic, { partition, from: batch.from, to });
  const folded = foldEvents(decoded.events, {
    module,
    epsilonMs: deps.epsilonMs,
    known: await knownOf(client, schema, batch, decoded),
    coverages: batch.coverages.known,
    placeOf: ({ offset }) => ({ topic: topic.topic, partition, offset }),
  });
  await batch.coverages.declare(client, folded.declared);
  await storeNewest(client, schema, module, partition, folded.records);
  const parked = [...decoded.parked, ...folded.parked];
  await park(client, schema, batch, parked);
  const visible = withEffects(folded, effectsFrom);
  const deliveries = await haveEffects(client, definition, async (payloads) => await enqueue(client, schema, topic.topicId, payloads), visible);
  crashPoint('effect-applied');
  return { batch: visible, parked, deliveries };
}

async function knownOf(client: Transaction, schema: string, { module, partition, coverages }: Batch, { events }: Decoded): Promise<Map<string, Known>> {
  const ids = new Set<string>();
  const named = new Set<string>();
  for (const { event } of events) {
    if (event.type !== 'CoverageDeclared') ids.add(event.id);
    if (event.type === 'RecordSeen' || event.type === 'RecordRepaired') named.add(event.coverage);
  }
  const known = await loadNewest(client, schema, module, partition, [...ids]);
  for (const { register } of known.values()) for (const content of [register.content, ...(register.earlier ?? [])]) if (content !== undefined) named.add(content.coverage);
  await coverages.load(client, named);
  return known;
}

function withEffects({ changes, observations }: Folded, effectsFrom: number): ConsumedBatch {
  const isVisible = ({ place }: { readonly place: { readonly offset: number } }): boolean => place.offset >= effectsFrom;
  return { changes: changes.filter(isVisible), observations: observations.filter(isVisible) };
}

type Enqueue = (payloads: Parameters<typeof enqueue>[3]) => Promise<number>;

/** What fails here is the application's. */
async function haveEffects(client: Transaction, { apply, deliveryOf }: BatchDeps['definition'], enqueueAll: Enqueue, batch: ConsumedBatch): Promise<number> {
  if (batch.observations.length === 0) return 0;
  try {
    await apply?.(batch, client);
    if (deliveryOf === undefined) return 0;
    return await enqueueAll(batch.changes.flatMap((change) => {
      const payload = deliveryOf(change);
      return payload === undefined ? [] : [{ change, payload }];
    }));
  } catch (cause) {
    throw new ConsumerError(`the effect of ${batch.observations[0]?.module} failed: ${cause instanceof Error ? cause.message : String(cause)}`, 'EFFECT_FAILED', { cause });
  }
}

async function park(client: Transaction, schema: string, { topic: { topic, topicId }, partition }: Batch, parked: readonly Parked[]): Promise<void> {
  for (const { message, code, cause } of parked) {
    await client.query(`insert into ${schema}.parked (topic_id, topic, partition, log_offset, code, cause, value) values ($1, $2, $3, $4, $5, $6, $7) on conflict do nothing`, [topicId, topic, partition, message.offset, code, cause, message.value]);
  }
}

/** Commits what the work does, or nothing of it. A connection on which something failed is closed. */
export async function inTransaction<T>(pool: Pool, work: (client: Transaction) => Promise<T>): Promise<T> {
  const client = await pool.connect();
  let isDone = false;
  // Without a listener the loss of a connection would end the process.
  const onError = (): void => undefined;
  client.on('error', onError);
  try {
    await client.query('begin');
    const result = await work(client);
    await client.query('commit');
    isDone = true;
    return result;
  } finally {
    client.off('error', onError);
    client.release(!isDone);
  }
}
