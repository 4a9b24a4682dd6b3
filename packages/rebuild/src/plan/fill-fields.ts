import { type PartitionSpan, readLog } from '@lockstep/kafka';
import type { MappingChange, ModuleProjection } from '@lockstep/projection';
import type { PoolClient } from 'pg';

import type { LeftDifference } from '../repair.ts';
import { readParked, readPositions, type VerifyDeps, type VerifyOptions } from '../verify-module.ts';
import { FieldFold, type UnfitContent } from './field-fold.ts';
import { fieldRows } from './field-rows.ts';
import { narrowed } from './plan-mapping.ts';
import { parkedDigest, writeChanges, type WrittenFields } from './write-changes.ts';

export type FillOptions = Pick<VerifyOptions, 'onProgress'> & { readonly topic: string; readonly topicId: string };
export type FilledFields = { readonly rows: number; readonly left: readonly LeftDifference[]; readonly unfit: readonly UnfitContent[] };

// Records that change while they are folded are folded again, and these alone: each time there are fewer.
const MOST_ROUNDS = 6;

/**
 * Fills columns from the log, and nothing else: one partition is written while the next is folded. A record that got another content meanwhile is
 * folded again; the projector, which has this mapping by now, may have written it already.
 */
export async function fillFields(deps: VerifyDeps, projection: ModuleProjection, change: MappingChange, options: FillOptions): Promise<FilledFields> {
  if (change.fields.length === 0) return { rows: 0, left: [], unfit: [] };
  let rows = 0;
  const left: LeftDifference[] = [];
  let unfit: UnfitContent[] = [];
  let open: ReadonlyMap<number, ReadonlySet<string> | null> | null = null;
  for (let round = 1; round <= MOST_ROUNDS; round += 1) {
    const done = await fillOnce(deps, projection, change, options, open);
    rows += done.written.reduce((sum, one) => sum + one.rows, 0);
    left.push(...done.written.flatMap((one) => one.left));
    if (open === null) unfit = done.unfit;
    open = new Map(done.written.filter(({ moved }) => moved.length > 0).map(({ partition, moved }) => [partition, new Set(moved)]));
    if (open.size === 0) return { rows, left, unfit };
  }
  const moving = [...(open?.values() ?? [])].flatMap((ids) => [...(ids ?? [])]);
  return { rows, unfit, left: [...left, ...moving.map((id) => ({ id, cause: 'its register entry is not of the content that the log ends with: see lockstep verify' }))] };
}

type Filled = { readonly written: readonly (WrittenFields & { readonly partition: number })[]; readonly unfit: UnfitContent[] };

/** @param open which records of which partitions; null for all. */
async function fillOnce(deps: VerifyDeps, projection: ModuleProjection, change: MappingChange, { topic, topicId, onProgress }: FillOptions, open: ReadonlyMap<number, ReadonlySet<string> | null> | null): Promise<Filled> {
  const narrow = narrowed(projection, change);
  narrow.assumeTable(projection.table);
  const clients: PoolClient[] = [await deps.pool.connect(), await deps.pool.connect()];
  const written: (WrittenFields & { readonly partition: number })[] = [];
  const unfit: UnfitContent[] = [];
  const existing = new Set(projection.table.columns.keys());
  try {
    const { spans, parked, digests } = await readStart(clients[0] as PoolClient, projection, topic, topicId, open);
    const folds: FieldFold[] = [];
    for (const client of clients) {
      await client.query('begin; set local idle_in_transaction_session_timeout = 0');
      folds.push(await FieldFold.create(client, narrow));
      await client.query('commit');
    }
    let turn = 0;
    let writing: Promise<void> = Promise.resolve();
    const ofMessages = spans.reduce((sum, { end }) => sum + end, 0);
    let messages = 0;
    const beginTurn = async (): Promise<void> => {
      await clients[turn]?.query('begin; set local idle_in_transaction_session_timeout = 0');
      await folds[turn]?.begin();
    };
    await beginTurn();
    await readLog(deps.kafka, topic, spans, {
      onMessages: async (partition, batch) => {
        const [skipped, only] = [parked.get(partition), open?.get(partition) ?? null];
        await folds[turn]?.take(skipped === undefined && only === null ? batch : batch.filter(({ offset, key }) => skipped?.has(offset) !== true && isAmong(only, key)));
        messages += batch.length;
        onProgress?.({ messages, ofMessages });
      },
      onPartitionEnd: async (partition) => {
        const [client, fold] = [clients[turn] as PoolClient, folds[turn] as FieldFold];
        unfit.push(...(await fold.end(partition)));
        await client.query('commit');
        await writing;
        const end = spans.find((span) => span.partition === partition)?.end ?? 0;
        const write = async (): Promise<void> => {
          const done = await writeChanges(client, projection, fieldRows(fold, narrow, existing, new Set()), { topicId, partition, end, parked: digests.get(partition) ?? '' });
          written.push({ ...done, partition });
        };
        writing = write();
        // It is awaited later: until then a failure is not unhandled.
        writing.catch(() => undefined);
        turn = 1 - turn;
        await beginTurn();
      },
    });
    await writing;
    return { written, unfit };
  } finally {
    // The temporary tables go with the connections.
    for (const client of clients) client.release(true);
  }
}

/** Messages without a record's key declare coverages. */
const isAmong = (only: ReadonlySet<string> | null, key: Buffer | null): boolean => only === null || key === null || only.has(key.toString('latin1')) || key[0] === LETTER_C;
const LETTER_C = 'c'.codePointAt(0);

type Start = { readonly spans: readonly PartitionSpan[]; readonly parked: ReadonlyMap<number, ReadonlySet<number>>; readonly digests: ReadonlyMap<number, string> };

/** Positions and what is parked, of one moment. */
async function readStart(client: PoolClient, { module }: ModuleProjection, topic: string, topicId: string, open: ReadonlyMap<number, unknown> | null): Promise<Start> {
  await client.query('begin isolation level repeatable read');
  try {
    const positions = await readPositions(client, module.apiName, topic, topicId);
    const spans = positions.filter(({ partition }) => open === null || open.has(partition));
    const parked = await readParked(client, topicId);
    const digests = new Map<number, string>();
    for (const { partition, end } of spans) digests.set(partition, await parkedDigest(client, topicId, partition, end));
    return { spans, parked, digests };
  } finally {
    await client.query('commit');
  }
}
