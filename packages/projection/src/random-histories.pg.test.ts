import { createTestDatabase, type TestDatabase } from '@lockstep/local-stack';
import { coverageOf, defineModule, type ModuleDefinition } from '@lockstep/modules';
import { connect, type Database, migrate, wantedLooks } from '@lockstep/postgres';
import { type Coverage, contentHash, coverage, encodeCoverage, type FieldValue, fold, isAlive, type Observation, rowOf } from '@lockstep/record-log';
import fc from 'fast-check';
import type { PoolClient } from 'pg';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';

import { adoptMapping } from './module-projection.ts';
import { retryParked } from './retry-parked.ts';
import { at, encoded, EPSILON_MS, recordId, Topic } from './testing.ts';

/*
 * Lives of a few records as the CRM has them: edits, times that go backwards, deletions, restores. What looks saw of them arrives in any
 * order, cut into any batches, while parents are missing, unique values are taken, values do not fit and rows are pointed to; what waits
 * is judged and tried in between. Once nothing is in the way, the table has to be the pure fold of the log.
 */
const item = (slug: string, onDelete: ModuleDefinition['onDelete']): ModuleDefinition =>
  defineModule({
    apiName: slug,
    slug,
    table: { schema: 'public', name: slug },
    keyColumn: 'crm_id',
    modifiedTimeColumn: 'modified_time',
    onDelete,
    fields: [
      { field: 'Name', kind: 'text', column: 'name', type: 'text' },
      { field: 'Parent', kind: 'lookup', column: 'parent_id', type: 'bigint' },
      { field: 'Number', kind: 'text', column: 'number', type: 'text' },
      { field: 'Amount', kind: 'decimal', column: 'amount', type: 'numeric(4,2)' },
    ],
  });
const modules = { mark: item('marked', { action: 'mark', deletedColumn: 'deleted_at' }), remove: item('removed', { action: 'remove' }) };
const covered = coverageOf(modules.mark);
/** Of looks that cannot read the name. */
const nameless = coverage(covered.fields.filter((field) => field !== 'Name'));

let testDatabase: TestDatabase;
let db: Database;
let client: PoolClient;

beforeAll(async () => {
  testDatabase = await createTestDatabase();
  db = await connect({ url: testDatabase.url, poolSize: 4 });
  await migrate(db, Object.values(modules));
  client = await db.pool.connect();
});
afterAll(async () => {
  client.release();
  await db.close();
  await testDatabase.drop();
});

type State = { readonly name: string; readonly hasParent: boolean; readonly number: string | null; readonly isTooLarge: boolean };
type Look = { readonly lag: number; readonly isNameless: boolean };
type Step = State & { readonly kind: 'edit' | 'back' | 'delete'; readonly afterMs: number; readonly looks: readonly Look[]; readonly isConfirmed: boolean };

const seconds = (n: number): number => n * 1_000;
const step: fc.Arbitrary<Step> = fc.record({
  kind: fc.constantFrom('edit' as const, 'edit' as const, 'edit' as const, 'back' as const, 'delete' as const),
  afterMs: fc.constantFrom(0, 0, 1, 30, 300, 1_200).map(seconds),
  looks: fc.array(fc.record({ lag: fc.nat({ max: 9 }), isNameless: fc.integer({ min: 0, max: 3 }).map((n) => n === 0) }), { minLength: 1, maxLength: 2 }),
  isConfirmed: fc.boolean(),
  name: fc.constantFrom('A', 'B', 'C'),
  hasParent: fc.boolean(),
  number: fc.constantFrom('1', '2', '3', null),
  isTooLarge: fc.integer({ min: 0, max: 5 }).map((n) => n === 0),
});

/** What looks and deleted lists say of one record's life; times, versions and names grow as in the CRM. */
function observed(id: string, steps: readonly Step[], keepsRow: boolean): { readonly observation: Observation; readonly isTooLarge: boolean }[] {
  const found: { observation: Observation; isTooLarge: boolean }[] = [];
  let [nowMs, versionMs] = [at('08:00:00'), 0];
  const hasDeletions = steps.some(({ kind }) => kind === 'delete');
  for (const [i, { kind, afterMs, looks, isConfirmed, ...state }] of steps.entries()) {
    nowMs += afterMs + seconds(10);
    if (kind === 'delete') {
      found.push({ observation: { type: 'RecordDeleted', id, deletedMs: nowMs }, isTooLarge: false });
      // What follows is seen after a restore.
      nowMs += EPSILON_MS + seconds(10);
      continue;
    }
    const modifiedMs = kind === 'back' ? nowMs - seconds(3_600) : nowMs;
    const isRepair = modifiedMs < versionMs;
    versionMs = Math.max(versionMs, modifiedMs);
    const contentOf = ({ id: name, fields: names }: Coverage) => {
      const fields: FieldValue[] = names.map((field) => ({ Name: `${i} ${state.name}`, Parent: state.hasParent ? '7' : null, Number: state.number, Amount: state.isTooLarge ? '1000' : '1' })[field] ?? null);
      return { coverage: name, fields, hash: contentHash(name, JSON.stringify(fields)) };
    };
    for (const { lag, isNameless } of looks.toSorted((a, b) => a.lag - b.lag)) {
      // A row that was removed has no name to keep.
      const sighting = { id, modifiedMs, observedMs: nowMs + lag * 900, ...contentOf(isNameless && keepsRow ? nameless : covered) };
      found.push({ observation: isRepair ? { type: 'RecordRepaired', ...sighting, versionMs } : { type: 'RecordSeen', ...sighting }, isTooLarge: state.isTooLarge });
    }
    const confirmation = { type: 'RecordConfirmed' as const, id, modifiedMs, observedMs: nowMs + 9_000, hash: contentOf(covered).hash, ...(isRepair ? { versionMs } : {}) };
    if (isConfirmed && !hasDeletions) found.push({ observation: confirmation, isTooLarge: state.isTooLarge });
  }
  return found;
}

const overtake = (): Promise<void> => wantedLooks(db).resolveOvertaken();
async function retry({ projection }: Topic): Promise<void> {
  await client.query(`update lockstep.parked set tried_at = tried_at - interval '1 hour' where value is not null`);
  await retryParked(client, projection);
}
const rows = async (sql: string): Promise<unknown[]> => (await client.query(sql)).rows;

async function given(module: ModuleDefinition): Promise<Topic> {
  const { name } = module.table;
  await client.query(`
    drop table if exists public.pointing, public.${name}, public.parents cascade;
    truncate lockstep.record_version, lockstep.projection_offset, lockstep.parked, lockstep.look_wanted;
    create table public.parents (id bigint primary key);
    create table public.${name} (id serial primary key, crm_id bigint not null unique, modified_time timestamptz, deleted_at timestamptz, name text, parent_id bigint references public.parents (id),
      number text constraint one_number unique, amount numeric(4,2));
    create table public.pointing (crm_id bigint references public.${name} (crm_id) on delete restrict)`);
  const topic = new Topic(client, module);
  await adoptMapping(db.pool, topic.projection);
  await topic.project([topic.message(encodeCoverage({ coverage: nameless.id, fields: nameless.fields }))]);
  return topic;
}

/** By the fold of the log. A name may be newer: one that comes later in the log than a nameless content is written while that waits. */
function expected(observations: readonly Observation[], keepsDeleted: boolean): unknown[] {
  return [...Map.groupBy(observations, ({ id }) => id)].toSorted(([a], [b]) => (a < b ? -1 : 1)).flatMap(([id, all]) => {
    const register = fold(all);
    const row = rowOf(register, EPSILON_MS);
    if (row === null || (row.deletedMs !== undefined && !keepsDeleted)) return [];
    const contents = [row.content, ...(row.earlier ?? [])].map(({ coverage: id, fields }) => ({ names: id === covered.id ? covered.fields : nameless.fields, fields }));
    const valueOf = (field: string): FieldValue => {
      const content = contents.find(({ names }) => names.includes(field));
      return content?.fields[content.names.indexOf(field)] ?? null;
    };
    const name: unknown = expect.toSatisfy((found: FieldValue) => ageOf(found) >= ageOf(valueOf('Name')));
    return [{ id, name, parent: valueOf('Parent'), number: valueOf('Number'), modified: row.modifiedMs, is_alive: isAlive(register, EPSILON_MS) }];
  });
}

/** The step that a name is of. */
const ageOf = (name: FieldValue): number => Number.parseInt(String(name ?? -1), 10);

const history = fc.record({
  lives: fc.array(fc.array(step, { minLength: 1, maxLength: 5 }), { minLength: 3, maxLength: 3 }),
  order: fc.infiniteStream(fc.nat({ max: 1_000_000 })),
  between: fc.infiniteStream(fc.constantFrom('nothing', 'overtake', 'retry', 'both', 'parent', 'point')),
  sizes: fc.infiniteStream(fc.integer({ min: 1, max: 6 })),
});

describe.each(['mark', 'remove'] as const)('with onDelete \'%s\'', (action) => {
  test('the newest version stands, and nothing is parked, once nothing is in the way', async () => {
    await fc.assert(
      fc.asyncProperty(history, async ({ lives, order, between, sizes }) => {
        const topic = await given(modules[action]);
        const { name } = modules[action].table;
        const all = lives.flatMap((steps, n) => observed(recordId(n), steps, action === 'mark')).map((one) => ({ one, place: order.next().value as number })).toSorted((a, b) => a.place - b.place).map(({ one }) => one);
        const arriving = [...all];
        while (arriving.length > 0) {
          const batch = arriving.splice(0, sizes.next().value as number);
          await topic.project(batch.map(({ observation }) => topic.message(encoded(observation))));
          const what = between.next().value as string;
          if (what === 'parent') await client.query('insert into public.parents values (7) on conflict do nothing');
          if (what === 'point') await client.query(`insert into public.pointing select crm_id from public.${name} limit 1`);
          if (what === 'overtake' || what === 'both') await overtake();
          if (what === 'retry' || what === 'both') await retry(topic);
        }
        // What never fits is corrected in the CRM; of a record that is dead it matters no more.
        const fitting = all.filter(({ isTooLarge }) => !isTooLarge).map(({ observation }) => observation);
        for (const [id, ofRecord] of Map.groupBy(all, ({ observation }) => observation.id)) {
          if (!ofRecord.some(({ isTooLarge }) => isTooLarge) || !isAlive(fold(ofRecord.map(({ observation }) => observation)), EPSILON_MS)) continue;
          const fields = covered.fields.map((field) => (field === 'Name' ? '99 Corrected' : null));
          const corrected: Observation = { type: 'RecordSeen', id, modifiedMs: at('20:00:00'), observedMs: at('20:00:00'), coverage: covered.id, fields, hash: contentHash(covered.id, JSON.stringify(fields)) };
          fitting.push(corrected);
          await topic.project([topic.message(encoded(corrected))]);
        }
        await client.query(`insert into public.parents values (7) on conflict do nothing; delete from public.pointing; alter table public.${name} drop constraint one_number`);
        for (let round = 0; round < 3; round += 1) {
          await retry(topic);
          await overtake();
        }
        expect(await rows('select record_id, code, cause, resolved_at is not null as is_resolved from lockstep.parked where resolved_at is null or (value is not null and retryable)')).toEqual([]);
        const found = await rows(`select crm_id::text as id, name, parent_id::text as parent, number, (extract(epoch from modified_time) * 1000)::float8 as modified, deleted_at is null as is_alive from public.${name} order by crm_id`);
        expect(found).toEqual(expected(fitting, action === 'mark'));
      }),
      { numRuns: 40 },
    );
  });
});
