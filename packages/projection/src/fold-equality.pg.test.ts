import { createTestDatabase } from '@lockstep/local-stack';
import { coverageOf, leads, type ModuleDefinition, products } from '@lockstep/modules';
import { connect, type Database, migrate } from '@lockstep/postgres';
import { type Coverage, coverage, encodeCoverage } from '@lockstep/record-log';
import fc from 'fast-check';
import type { PoolClient } from 'pg';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';

import type { LogMessage } from './fold-batch.ts';
import { adoptMapping, ModuleProjection } from './module-projection.ts';
import { loadPositions } from './positions.ts';
import { projectBatch } from './project-batch.ts';
import { recordId } from './testing.ts';
import { batchesOf, type CutLog, longLogs, PARTITIONS, shortLogs } from './testing/histories.ts';
import { columnOf, type Expected, expectedOf, type Row } from './testing/pure-model.ts';

const EPSILON_MS = 500;
// Each try takes a second or two, so to shrink a failure takes minutes: set to false to do it.
const endOnFailure = true;
const topic = { topic: 't', topicId: 't' };
const partitions = Array.from({ length: PARTITIONS }, (_, partition) => partition);

let testDatabase: Awaited<ReturnType<typeof createTestDatabase>>;
let db: Database;
let client: PoolClient;

beforeAll(async () => {
  testDatabase = await createTestDatabase({ legacySchema: true });
  db = await connect({ url: testDatabase.url, poolSize: 4 });
  await migrate(db, [leads, products]);
  client = await db.pool.connect();
  // Another table of the legacy application, which points to rows of ours.
  await client.query('create table public.notes (id bigint primary key, lead_id bigint references public.leads (id), product_id bigint references public.products (id), note text not null)');
});

afterAll(async () => {
  client.release();
  await db.close();
  await testDatabase.drop();
});

/** A module under test: the coverages its log speaks under, the fields that are compared, a column that is not ours. */
type Subject = { readonly module: ModuleDefinition; readonly coverages: readonly Coverage[]; readonly fields: readonly string[]; readonly foreignColumn: string; readonly standing: readonly Row[] };

const standingLead = (n: number): Row => ({ id: recordId(n), modified: 1_000_000_000_000, deleted: null, last_name: `Legacy ${n}`, company: 'Legacy', city: 'Legacy' });
const ofLeads: Subject = {
  module: leads,
  // One that leaves fields out, and one that has others and a field that is mapped no more.
  coverages: [coverageOf(leads), coverage(['Last_Name', 'Company']), coverage(['City', 'Gone_Field', 'Last_Name'])],
  fields: ['Last_Name', 'Company', 'City'],
  foreignColumn: 'account_manager',
  standing: [standingLead(1), standingLead(2)],
};
// A removed row has no columns to keep, so there is one coverage.
const ofProducts: Subject = { module: products, coverages: [coverageOf(products)], fields: ['Product_Name'], foreignColumn: 'warehouse_bin', standing: [] };

const query = async (sql: string, values: unknown[] = []): Promise<Record<string, unknown>[]> => (await client.query<Record<string, unknown>>(sql, values)).rows;

/** Rows that stood before, of the log's records and of others, and what points to them. */
async function prepare({ module, fields, standing, foreignColumn }: Subject): Promise<void> {
  const { name } = module.table;
  await client.query(`delete from public.notes; delete from public.${name}; delete from lockstep.parked; delete from lockstep.coverage`);
  const columns = fields.map((field) => columnOf(module, field));
  for (const row of standing) {
    await client.query(`insert into public.${name} (id, modified_time, ${columns.join(', ')}, ${foreignColumn}) values ($1, to_timestamp($2::float8 / 1000), ${columns.map((_, i) => `$${i + 4}`).join(', ')}, $3)`, [row.id, row.modified, `of ${row.id}`, ...columns.map((column) => row[column])]);
  }
  await client.query(`insert into public.${name} (id, modified_time, ${columns[0]}, ${foreignColumn}) select n, now(), 'Foreign', 'ours' from unnest($1::bigint[]) n`, [[900_001, 900_002]]);
  await client.query(`insert into public.notes (id, ${name.slice(0, -1)}_id, note) values (1, 900001, 'a'), (2, null, 'b')`);
}

/** What belongs to others: their rows with the transaction that wrote them, their columns, their table. */
const foreign = async ({ module, foreignColumn }: Subject): Promise<unknown[]> => [
  await query(`select *, xmin::text from public.${module.table.name} where id < 1000000 order by id`),
  await query('select *, xmin::text from public.notes order by id'),
  await query(`select id::text, ${foreignColumn} as value from public.${module.table.name} where ${foreignColumn} is not null order by id`),
];

/** Projects a log from offset 0 into an empty register. */
async function project({ module, coverages }: Subject, batches: readonly LogMessage[][]): Promise<void> {
  await client.query('delete from lockstep.record_version; delete from lockstep.projection_offset; delete from lockstep.look_wanted');
  const projection = new ModuleProjection(module, EPSILON_MS);
  await adoptMapping(db.pool, projection);
  await loadPositions(client, { ...topic, partitions });
  const ends = new Map(partitions.map((partition) => [partition, 0]));
  const declared = coverages.map(({ id, fields }) => encodeCoverage({ coverage: id, fields }));
  for (const [at, batch] of batches.entries()) {
    // The coverages stand before the first event; the test's offsets count from there.
    const messages = at === 0 ? [...declared.map((value): LogMessage => ({ partition: batch[0]?.partition ?? 0, offset: -1, value: Buffer.from(value) })), ...batch] : batch;
    const moved = new Map<number, { from: number; to: number }>();
    for (const { partition, offset } of batch) moved.set(partition, { from: moved.get(partition)?.from ?? (ends.get(partition) as number), to: offset + 1 });
    await projectBatch(client, projection, { ...topic, messages, positions: moved });
    for (const [partition, { to }] of moved) ends.set(partition, to);
  }
}

const ms = (column: string): string => `(extract(epoch from ${column}) * 1000)::float8`;

async function projected({ module, fields }: Subject): Promise<Expected> {
  const deleted = module.onDelete.action === 'mark' ? ms(module.onDelete.deletedColumn) : 'null::float8';
  return {
    register: await query(`select record_id::text as id, modified_ms::float8 as modified, version_ms::float8 as version, observed_ms::float8 as observed,
      replace(content_hash::text, '-', '') as hash, deleted_ms::float8 as deleted, listed_ms::float8 as listed from lockstep.record_version order by record_id`),
    rows: (await query(`select id::text, ${ms('modified_time')} as modified, ${deleted} as deleted, ${fields.map((field) => columnOf(module, field)).join(', ')} from public.${module.table.name} where id > 1000000 order by id`)) as Row[],
    wanted: (await query('select record_id::text as id from lockstep.look_wanted order by record_id')).map(({ id }) => id as string),
  };
}

/** The result of projecting a log, and again, cut elsewhere, into an empty register beside the table that it made; and the expected one. */
async function projectedTwice(subject: Subject, log: CutLog, otherCuts: readonly number[]): Promise<{ readonly found: unknown[]; readonly expected: unknown[] }> {
  await prepare(subject);
  const before = await foreign(subject);
  await project(subject, batchesOf(log));
  const first = [await projected(subject), await foreign(subject)];
  if (subject.module.onDelete.action === 'mark') await query(`update public.${subject.module.table.name} set ${subject.foreignColumn} = 'of ' || id where id > 1000000`);
  const beside = await foreign(subject);
  await project(subject, batchesOf({ ...log, cuts: otherCuts }));
  const model = expectedOf(log.history, subject.standing, { ...subject, epsilonMs: EPSILON_MS });
  return { found: [...first, await projected(subject), await foreign(subject)], expected: [model, before, model, beside] };
}

describe.each([
  ['Leads, whose deleted rows are marked', ofLeads],
  ['Products, whose deleted rows are removed', ofProducts],
])('the table of %s', (_, subject) => {
  test.each([
    ['of few records', shortLogs, 40],
    ['of many records, by COPY', longLogs, 8],
  ])('is the pure fold of its log %s, for any history cut into any batches, and is so again when the log is projected from its beginning', async (__, logs, numRuns) => {
    const cuts = fc.array(fc.nat({ max: 400 }), { maxLength: 3 }).map((some) => some.toSorted((a, b) => a - b));
    await fc.assert(fc.asyncProperty(logs(subject.coverages), cuts, async (log, others) => {
      const { found, expected } = await projectedTwice(subject, log, others);
      expect(found).toEqual(expected);
    }), { numRuns, endOnFailure });
  });
});

test('both ways into register and table were taken', async () => {
  const stages = (await query(`select relname from pg_class where relnamespace = pg_my_temp_schema() and relkind = 'r'`)).map(({ relname }) => relname);
  expect(stages).toContain('narrow');
  // One of each module at least; the connection is the file's own.
  expect(stages.filter((name) => String(name).startsWith('stage_')).length).toBeGreaterThanOrEqual(2);
});
