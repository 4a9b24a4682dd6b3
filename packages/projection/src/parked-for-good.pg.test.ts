import { createTestDatabase, type TestDatabase } from '@lockstep/local-stack';
import { defineModule, leads } from '@lockstep/modules';
import { connect, type Database, migrate } from '@lockstep/postgres';
import type { PoolClient } from 'pg';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';

import { adoptMapping, ModuleProjection } from './module-projection.ts';
import { retryParked, retryParkedNow } from './retry-parked.ts';
import { EPSILON_MS, recordId, Topic } from './testing.ts';

let testDatabase: TestDatabase;
let db: Database;
let client: PoolClient;
let lead: Topic;

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
beforeEach(async () => {
  await client.query(`truncate public.leads cascade; truncate lockstep.record_version, lockstep.projection_offset, lockstep.parked;
    alter table public.leads drop column if exists region; alter table public.leads drop constraint if exists short; alter table public.leads alter column fax drop not null`);
  lead = new Topic(client, leads);
  await adoptMapping(db.pool, lead.projection);
});

const edits = (count: number, company: string, clock = '10:00:00') => Array.from({ length: count }, (_, n) => lead.seen({ n, modified: clock, Company: company }));
const rows = async (sql: string): Promise<unknown[]> => (await client.query(sql)).rows;
const open = (): Promise<unknown[]> => rows('select code, record_id, retryable from lockstep.parked where resolved_at is null order by id');
const companies = (): Promise<unknown[]> => rows('select company, count(*)::int as n from leads group by 1 order by 1');

describe('what does not fit for good', () => {
  beforeEach(async () => {
    await client.query(`alter table public.leads add constraint short check (length(company) < 6)`);
    await lead.project([...edits(3, 'short'), lead.seen({ n: 7, modified: '10:00:00', Company: 'a long name' })]);
  });

  test('is not tried while the table is the same, and stands once it has changed', async () => {
    expect(await open()).toEqual([{ code: '23514', record_id: recordId(7), retryable: false }]);
    expect(await retryParked(client, lead.projection)).toEqual({ resolved: 0, waiting: 0 });
    await client.query('alter table public.leads drop constraint short');
    expect(await retryParked(client, lead.projection)).toEqual({ resolved: 1, waiting: 0 });
    expect([await companies(), await open()]).toEqual([[{ company: 'a long name', n: 1 }, { company: 'short', n: 3 }], []]);
  });

  test('is tried once by a change that does not help it, also after a restart', async () => {
    await client.query('alter table public.leads add column region text');
    const restarted = new ModuleProjection(leads, EPSILON_MS);
    expect(await retryParked(client, restarted)).toEqual({ resolved: 0, waiting: 1 });
    expect(await retryParked(client, restarted)).toEqual({ resolved: 0, waiting: 0 });
    expect(await open()).toEqual([{ code: '23514', record_id: recordId(7), retryable: false }]);
  });

  test('is tried under another mapping', async () => {
    await lead.project([lead.seen({ n: 8, modified: '10:00:00', Company: 'short', Annual_Revenue: '10.125' })]);
    const rounding = defineModule({ ...leads, fields: leads.fields.map((field) => (field.column === 'annual_revenue' ? { ...field, onExcessScale: 'round' as const } : field)) });
    const next = new ModuleProjection(rounding, EPSILON_MS);
    await adoptMapping(db.pool, next);
    expect(await retryParked(client, next)).toEqual({ resolved: 1, waiting: 1 });
    expect(await rows('select annual_revenue from leads where annual_revenue is not null')).toEqual([{ annual_revenue: '10.13' }]);
  });

  test('is tried on demand', async () => {
    expect(await retryParkedNow(client, 'Leads')).toEqual({ due: 1, withoutValue: 0 });
    expect(await retryParkedNow(client, 'Leads', [])).toEqual({ due: 0, withoutValue: 0 });
    expect(await retryParked(client, lead.projection)).toEqual({ resolved: 0, waiting: 1 });
    expect(await open()).toMatchObject([{ code: '23514', retryable: false }]);
  });
});

describe('a wave of messages that do not fit', () => {
  const mostParked = (): number => 5;

  test('is refused with nothing of it parked, by arrays and by COPY', async () => {
    await lead.project(edits(2, 'before'));
    await client.query(`update public.leads set fax = ''; alter table public.leads alter column fax set not null`);
    for (const count of [30, 200]) {
      await expect(lead.project(Array.from({ length: count }, (_, n) => lead.seen({ n: 1_000 + n, modified: '10:05:00' })), { from: 2, mostParked })).rejects.toMatchObject({ code: 'TOO_MANY_PARKED', message: expect.stringContaining('"fax"') as unknown });
    }
    expect([await rows('select from lockstep.parked'), await companies()]).toEqual([[], [{ company: 'before', n: 2 }]]);
  });

  test('is none while it is no more than allowed', async () => {
    await client.query(`alter table public.leads add constraint short check (length(company) < 6)`);
    const batch = Array.from({ length: 60 }, (_, n) => lead.seen({ n, modified: '10:00:00', Company: n % 12 === 0 ? 'a long name' : 'short' }));
    expect(await lead.project(batch, { mostParked })).toMatchObject({ rejects: 5 });
    expect(await companies()).toEqual([{ company: 'short', n: 55 }]);
  });

  test('of messages that are no events is refused as well', async () => {
    await expect(lead.project(Array.from({ length: 6 }, () => lead.message('{')), { mostParked })).rejects.toMatchObject({ code: 'TOO_MANY_PARKED' });
    expect(await rows('select from lockstep.parked')).toEqual([]);
  });

  test('of what only waits is none', async () => {
    await client.query(`create function public.refuse() returns trigger language plpgsql as $$ begin raise 'not today'; end $$; create trigger refuses before insert on public.leads for each row execute function public.refuse()`);
    try {
      expect(await lead.project(edits(8, 'short'), { mostParked })).toMatchObject({ rejects: 0, waiting: 8 });
    } finally {
      await client.query('drop function public.refuse cascade');
    }
  });
});
