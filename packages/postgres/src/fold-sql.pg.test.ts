import { createTestDatabase } from '@lockstep/local-stack';
import { doubtSince, isAliveBy, isSettledBy, type SettlingTimes } from '@lockstep/record-log';
import fc from 'fast-check';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';

import { connect, type Database } from './database.ts';
import { deletionBreaker } from './deletion-breaker.ts';
import { doubtSinceSql, isAliveSql, isSettledSql, timesOf } from './fold-sql.ts';
import { readFreshness } from './freshness.ts';
import { migrate } from './migrate.ts';
import { registerAudits } from './register-audits.ts';
import { registerReader } from './register.ts';
import { noteEpsilon } from './settings.ts';
import { openTestDatabase } from './testing.ts';

const EPSILON_MS = 60_000;
const START_MS = 1_700_000_000_000;
const leads = { slug: 'leads', apiName: 'Leads' };

let db: Database;

beforeAll(async () => {
  db = await openTestDatabase([leads], { poolSize: 4 });
  await db.pool.query(`insert into lockstep.mapping (module, fingerprint) values ('Leads', 'x')`);
});
beforeEach(async () => {
  await db.pool.query('truncate lockstep.record_version, lockstep.watermark, lockstep.held_deletions');
  await noteEpsilon(db, EPSILON_MS);
});
afterAll(() => db.close());

// Two times differ by 0, ε or the second of a settled look, give or take a millisecond: where the rules change.
const near = fc.tuple(fc.constantFrom(0, EPSILON_MS, -EPSILON_MS, 1000 + EPSILON_MS, 2 * EPSILON_MS), fc.constantFrom(-1, 0, 1, 999)).map(([far, off]) => START_MS + far + off);
const never = fc.option(near, { nil: null, freq: 4 });
const register = fc
  .record({ seen: fc.option(fc.record({ modifiedMs: near, observedMs: near }), { nil: { modifiedMs: null, observedMs: null }, freq: 5 }), deletedMs: never, listedMs: never })
  .map(({ seen, ...rest }): Times => ({ ...seen, ...rest }));
type Times = Required<{ [K in keyof SettlingTimes]: number | null }>;

/** Puts records into the register; their ids count from 1. */
async function given(registers: readonly Times[]): Promise<void> {
  const column = (key: keyof Times): (number | null)[] => registers.map((one) => one[key]);
  await db.pool.query(
    `insert into lockstep.record_version (module, record_id, modified_ms, observed_ms, deleted_ms, listed_ms, log_partition, log_offset)
     select 'Leads', n, m, o, d, l, 0, n from unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[]) with ordinality as u (m, o, d, l, n)`,
    [column('modifiedMs'), column('observedMs'), column('deletedMs'), column('listedMs')],
  );
}

const idsWhere = (registers: readonly Times[], holds: (times: Times) => boolean): string[] => registers.flatMap((times, i) => (holds(times) ? [String(i + 1)] : [])).toSorted();
const isDead = (times: Times): boolean => times.deletedMs !== null && !isAliveBy(times, EPSILON_MS);
const isSettled = (times: Times): boolean => isSettledBy(times, EPSILON_MS);

describe('the rules in SQL', () => {
  test('are those of the pure fold, for any times and any ε', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(register, { minLength: 50, maxLength: 200, size: 'max' }), fc.constantFrom(0, 1, 999, EPSILON_MS), async (registers, epsilonMs) => {
        await db.pool.query('truncate lockstep.record_version');
        await given(registers);
        const r = timesOf('r');
        const { rows } = await db.pool.query(
          `select ${isAliveSql(r, String(epsilonMs))} as alive, ${isSettledSql(r, `${epsilonMs}::bigint`)} as settled, ${doubtSinceSql(r, String(epsilonMs))}::float8 as doubt
           from lockstep.record_version r order by record_id`,
        );
        const expected = registers.map((times) => {
          const doubt = doubtSince(times, epsilonMs);
          return { alive: isAliveBy(times, epsilonMs), settled: isSettledBy(times, epsilonMs), doubt: Number.isFinite(doubt) ? doubt : null };
        });
        expect(rows).toEqual(expected);
      }),
      { numRuns: 20 },
    );
  });

  test('decide in every query of the register alike', async () => {
    const since = new Date(0);
    const now = new Date(START_MS + 3_600_000);
    await fc.assert(
      fc.asyncProperty(fc.array(register, { minLength: 30, maxLength: 60, size: 'max' }), async (registers) => {
        await db.pool.query('truncate lockstep.record_version, lockstep.watermark');
        await given(registers);
        await db.pool.query(`insert into lockstep.watermark (module, kind, at, topic_id, end_offsets) values ('Leads', 'changes', $1, 't', '{}')`, [now]);
        const alive = idsWhere(registers, (times) => isAliveBy(times, EPSILON_MS));
        const reader = registerReader(db);
        expect((await reader.deleted('Leads', since)).toSorted()).toEqual(idsWhere(registers, isDead));
        expect((await reader.doubtful('Leads', since, EPSILON_MS)).toSorted()).toEqual(idsWhere(registers, (times) => isDead(times) && !isSettled(times)));
        expect((await registerAudits(db).count('Leads', { changedSince: since, now })).visible).toBe(alive.length);
        const unsettled = registers.filter((times) => !isSettled(times));
        const settledUpTo = new Date(Math.min(now.getTime(), ...unsettled.map((times) => doubtSince(times, EPSILON_MS))));
        expect((await readFreshness(db))[0]).toMatchObject({ unsettled: unsettled.length, settledUpTo });
        await reader.hidden('Leads', registers.map((_, i) => String(i + 1)));
        const { rows } = await db.pool.query<{ id: string }>('select record_id as id from lockstep.record_version where hidden_since is not null');
        expect(rows.map(({ id }) => id).toSorted()).toEqual(alive);
      }),
      { numRuns: 15 },
    );
  });
});

describe('a record that was deleted and restored', () => {
  const times = { modifiedMs: START_MS, deletedMs: START_MS + 100_999, listedMs: null };
  const restored: Times = { ...times, observedMs: START_MS + 100_999 + EPSILON_MS + 1 };
  const dead: Times = { ...times, observedMs: restored.observedMs as number - 1 };
  const hidden = async (): Promise<unknown[]> => (await db.pool.query<{ id: number }>('select record_id::int as id from lockstep.record_version where hidden_since is not null order by 1')).rows.map(({ id }) => id);
  beforeEach(() => given([restored, dead]));

  test('is noted as hidden by a look that does not find it; a dead one is not', async () => {
    await registerReader(db).hidden('Leads', ['1', '2']);
    expect(await hidden()).toEqual([1]);
  });

  test('is noted as hidden by a reading of the module that did not meet it; a dead one is not', async () => {
    expect(await registerAudits(db).hideUnseen('Leads', new Date(START_MS + 3_600_000))).toBe(1);
    expect(await hidden()).toEqual([1]);
  });

  test('counts in the base of the breaker; a dead one does not', async () => {
    await db.pool.query('truncate lockstep.record_version');
    await given([...Array.from({ length: 10_200 }, () => restored), ...Array.from({ length: 10_000 }, () => dead)]);
    expect(await deletionBreaker(db).admits('Leads', 103)).toBe(false);
    expect((await deletionBreaker(db).held())[0]).toMatchObject({ deletions: 103, allowed: 102 });
    expect(await deletionBreaker(db).admits('Leads', 102)).toBe(true);
  });
});

describe('a deletion in doubt', () => {
  const died = START_MS + 999;
  const doubt = (ageMs: number, listedMs: number | null = null): Times => ({ modifiedMs: 0, observedMs: died - ageMs - 1_000, deletedMs: died - ageMs, listedMs });

  test('is found by its time, until the list has named the record later than ε after it', async () => {
    await given([doubt(0), doubt(5_000), doubt(9_000, died - 9_000 + EPSILON_MS + 1), doubt(3_600_000)]);
    const reader = registerReader(db);
    expect((await reader.doubtful('Leads', new Date(died - 60_000), EPSILON_MS)).toSorted()).toEqual(['1', '2']);
    expect(await reader.oldestDoubt('Leads', new Date(died - 60_000), EPSILON_MS)).toEqual(new Date(died - 5_000));
    expect(await reader.oldestDoubt('Leads', new Date(died + 1), EPSILON_MS)).toBeNull();
    expect((await reader.known('Leads', ['3'])).get('3')).toMatchObject({ deletedMs: died - 9_000, listedMs: died - 9_000 + EPSILON_MS + 1 });
  });
});

describe('the upgrade', () => {
  const view = async (database: Database): Promise<unknown> =>
    (await database.pool.query(`select pg_get_viewdef('lockstep.freshness'::regclass) as text, (select array_agg(attname::text || ' ' || atttypid::regtype order by attnum) from pg_attribute where attrelid = 'lockstep.freshness'::regclass) as columns,
      (select array_agg(attname::text || ' ' || atttypid::regtype order by attname) from pg_attribute where attrelid = 'lockstep.record_version_leads'::regclass and attnum > 0 and not attisdropped) as register`)).rows[0];

  test('of a database of the version before ends as one made from nothing, and keeps its register and the rights to its view', async () => {
    const older = await createTestDatabase();
    const database = await connect({ url: older.url, poolSize: 2 });
    try {
      await database.pool.query('create schema lockstep');
      await database.orm.migrator.up({ to: '008-add-page-ends' });
      await database.pool.query(`create table lockstep.record_version_leads partition of lockstep.record_version for values in ('Leads')`);
      await database.pool.query(`insert into lockstep.record_version (module, record_id, modified_ms, observed_ms, deleted_ms, log_partition, log_offset) values ('Leads', 1, 1, 2, 3, 0, 0)`);
      await database.pool.query('grant select on lockstep.freshness to public');
      await migrate(database, [leads]);
      expect(await view(database)).toEqual(await view(db));
      const { rows } = await database.pool.query(`select deleted_ms, listed_ms, has_table_privilege('pg_monitor', 'lockstep.freshness', 'select') as is_granted from lockstep.record_version`);
      expect(rows).toEqual([{ deleted_ms: '3', listed_ms: null, is_granted: true }]);
    } finally {
      await database.close();
      await older.drop();
    }
  });
});
