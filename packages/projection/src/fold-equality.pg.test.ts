import { createTestDatabase } from '@lockstep/local-stack';
import { coverageOf, leads } from '@lockstep/modules';
import { connect, type Database, migrate } from '@lockstep/postgres';
import { contentHash, encodeDeleted, encodeRepaired, encodeSeen, fold, type Observation, rowOf } from '@lockstep/record-log';
import fc from 'fast-check';
import type { PoolClient } from 'pg';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';

import type { LogMessage } from './fold-batch.ts';
import { adoptMapping, ModuleProjection } from './module-projection.ts';
import { loadPositions } from './positions.ts';
import { projectBatch } from './project-batch.ts';

const EPSILON_MS = 500;
const covered = coverageOf(leads);
const nameAt = covered.fields.indexOf('Last_Name');

let testDatabase: Awaited<ReturnType<typeof createTestDatabase>>;
let db: Database;
let client: PoolClient;

beforeAll(async () => {
  testDatabase = await createTestDatabase({ legacySchema: true });
  db = await connect({ url: testDatabase.url, poolSize: 4 });
  await migrate(db, [leads]);
  client = await db.pool.connect();
});

afterAll(async () => {
  client.release();
  await db.close();
  await testDatabase.drop();
});

// Few ids, seconds and names, so that every kind of tie comes up.
const id = fc.integer({ min: 1, max: 3 }).map((n) => String(5_725_767_000_000_000_000n + BigInt(n)));
const observed = fc.nat({ max: 40 }).map((n) => 1_700_000_000_000 + n * 250);
const seen = fc
  .record({ id, modifiedMs: fc.nat({ max: 5 }).map((n) => 1_700_000_000_000 + n * 1000), observedMs: observed, name: fc.constantFrom('A', 'B', 'C') })
  .map(({ name, ...identity }): Observation => {
    const fields = covered.fields.map((_, i) => (i === nameAt ? name : null));
    return { type: 'RecordSeen', ...identity, coverage: covered.id, fields, hash: contentHash(covered.id, JSON.stringify(fields)) };
  });
const repaired = fc.tuple(seen, fc.nat({ max: 2 })).map(([observation, ahead]): Observation => {
  if (observation.type !== 'RecordSeen') throw new Error('not generated here');
  return { ...observation, type: 'RecordRepaired', versionMs: observation.modifiedMs + ahead * 1000 };
});
const deleted = fc.record({ id, deletedMs: observed.map((ms) => ms - (ms % 1000)) }).map((it): Observation => ({ type: 'RecordDeleted', ...it }));
const history = fc.array(fc.oneof({ weight: 3, arbitrary: seen }, { weight: 1, arbitrary: repaired }, { weight: 1, arbitrary: deleted }), { minLength: 1, maxLength: 40 });

const encoded = (observation: Observation): string => {
  if (observation.type === 'RecordDeleted') return encodeDeleted(observation);
  if (observation.type === 'RecordRepaired') return encodeRepaired(observation).value;
  if (observation.type === 'RecordSeen') return encodeSeen(observation).value;
  throw new Error('not generated here');
};

async function projected(batches: readonly (readonly Observation[])[]): Promise<unknown[]> {
  await client.query('truncate public.leads cascade');
  await client.query('truncate lockstep.record_version, lockstep.projection_offset, lockstep.parked');
  const projection = new ModuleProjection(leads, EPSILON_MS);
  const topic = { topic: 't', topicId: 't' };
  await adoptMapping(db.pool, projection);
  await loadPositions(client, { ...topic, partitions: [0] });
  let from = 0;
  for (const batch of batches.filter(({ length }) => length > 0)) {
    const messages = batch.map((observation, i): LogMessage => ({ partition: 0, offset: from + i, value: Buffer.from(encoded(observation)) }));
    const to = from + batch.length;
    await projectBatch(client, projection, { ...topic, messages, positions: new Map([[0, { from, to }]]) });
    from = to;
  }
  const { rows } = await client.query(`
    select id::text, last_name as name, extract(epoch from modified_time) * 1000 as modified, extract(epoch from deleted_at) * 1000 as deleted from public.leads order by id`);
  return rows.map((row) => ({ ...row, modified: Number(row.modified), deleted: row.deleted === null ? null : Number(row.deleted) }));
}

function expected(observations: readonly Observation[]): unknown[] {
  const byId = [...Map.groupBy(observations, (observation) => observation.id)].toSorted(([a], [b]) => (a < b ? -1 : 1));
  return byId.flatMap(([recordId, all]) => {
    const row = rowOf(fold(all), EPSILON_MS);
    if (row === null) return [];
    return [{ id: recordId, name: row.content.fields[nameAt], modified: row.modifiedMs, deleted: row.deletedMs === undefined ? null : row.deletedMs - 999 }];
  });
}

describe('the table', () => {
  test('is the pure fold of its log, for any history cut into any batches', async () => {
    const cuts = fc.array(fc.nat({ max: 40 }), { maxLength: 4 });
    await fc.assert(
      fc.asyncProperty(history, cuts, async (observations, at) => {
        const edges = [0, ...at.map((n) => Math.min(n, observations.length)).toSorted((a, b) => a - b), observations.length];
        const batches = edges.slice(1).map((end, i) => observations.slice(edges[i], end));
        expect(await projected(batches)).toEqual(expected(observations));
      }),
      { numRuns: 150 },
    );
  });
});
