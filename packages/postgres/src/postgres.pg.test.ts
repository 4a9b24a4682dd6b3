import { type AddressInfo, createConnection, createServer, type Socket } from 'node:net';

import { createTestDatabase, type TestDatabase } from '@lockstep/local-stack';
import { defineModule } from '@lockstep/modules';
import { afterAll, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';

import { bulkRuns, pagesDueNow, restartFailedLoad } from './bulk-runs.ts';
import { channels } from './channels.ts';
import { creditBuckets, type CreditDraw } from './credit-buckets.ts';
import { creditUse } from './credit-use.ts';
import { connect, type Database } from './database.ts';
import type { BulkPageRow } from './entities.ts';
import { isTransient, sqlState } from './errors.ts';
import { fencedLease, lease } from './lease.ts';
import { migrate } from './migrate.ts';
import { referrers } from './referrers.ts';
import { textCuts } from './text-cuts.ts';
import { tokenStore } from './token-store.ts';

const leads = { slug: 'leads', apiName: 'Leads' };
const deals = { slug: 'deals', apiName: 'Deals' };

let testDatabase: TestDatabase;
let db: Database;
let other: Database;

beforeAll(async () => {
  testDatabase = await createTestDatabase();
  [db, other] = await Promise.all([connect({ url: testDatabase.url, poolSize: 4 }), connect({ url: testDatabase.url, poolSize: 4 })]);
  // Two processes that start at once: the lock lets them through one after the other.
  await Promise.all([migrate(db, [leads, deals]), migrate(other, [leads, deals])]);
});

afterAll(async () => {
  await Promise.all([db.close(), other.close()]);
  await testDatabase.drop();
});

describe('connect', () => {
  test('a connection that breaks while it is in use fails the next query on it, and neither the process nor the pool', async () => {
    for (let times = 0; times < 6; times += 1) {
      const client = await db.pool.connect();
      const { rows } = await client.query<{ pid: number }>('select pg_backend_pid() as pid');
      const ended = new Promise((resolve) => void client.once('end', resolve));
      await other.pool.query('select pg_terminate_backend($1)', [rows[0]?.pid]);
      await ended;
      const failure: unknown = await client.query('select').catch((error: unknown) => error);
      expect(isTransient(failure)).toBe(true);
      client.release();
    }
    await db.ping();
  });
});

describe('migrate', () => {
  test('changes nothing when it runs again', async () => {
    await migrate(db, [leads, deals]);
    const { rows } = await db.pool.query(`select tablename from pg_tables where schemaname = 'lockstep' and tablename like 'record_version_%' order by 1`);
    expect(rows.map((row: { tablename: string }) => row.tablename)).toEqual(['record_version_deals', 'record_version_leads']);
  });
});

test('a database that is closed leaves no connection, whether the ORM or only the pool was used', async () => {
  for (const isOrmUsed of [true, false]) {
    const closed = await connect({ url: testDatabase.url, poolSize: 2 });
    await closed.pool.query('select 1');
    if (isOrmUsed) await closed.orm.em.getConnection().execute('select 1');
    await closed.close();
    expect(closed.pool.totalCount).toBe(0);
  }
});

describe('lease', () => {
  test('has one holder, and a successor when it is released', async () => {
    const held = await lease(db, 'a');
    expect(held).not.toBeNull();
    expect(await lease(other, 'a')).toBeNull();
    await held?.release();
    expect(held?.signal.aborted).toBe(true);
    const successor = await lease(other, 'a');
    expect(successor).not.toBeNull();
    await successor?.release();
  });

  test('is lost with its connection, and the holder is notified', async () => {
    const held = await lease(db, 'b');
    const aborted = new Promise((resolve) => held?.signal.addEventListener('abort', resolve));
    await other.pool.query(`select pg_terminate_backend(pid) from pg_locks where locktype = 'advisory' and database = (select oid from pg_database where datname = current_database())`);
    await aborted;
    // The backend says that it ends before it gives up its locks.
    const successor = await vi.waitUntil(() => lease(other, 'b'), 10_000);
    expect(successor.signal.aborted).toBe(false);
    await successor.release();
  });

  test('is given up by a holder whose connection does not answer any more, although nothing closes it', async () => {
    const { hostname, port } = new URL(testDatabase.url);
    const between = await silentProxy(hostname, Number(port));
    const far = await connect({ url: testDatabase.url.replace(`:${port}/`, `:${between.port}/`), poolSize: 2 });
    const held = await lease(far, 'c', { everyMs: 20, patienceMs: 300 });
    const aborted = new Promise((resolve) => held?.signal.addEventListener('abort', resolve));
    expect(held?.signal.aborted).toBe(false);
    between.fallSilent();
    await aborted;
    await far.close();
    between.close();
  });

  test('fences what a former holder does: its late changes fail, and those of the present one and of others do not', async () => {
    const former = await fencedLease(db, 'd');
    const fenced = await db.fenced(former as NonNullable<typeof former>);
    const run = await bulkRuns(fenced).start('Deals', 'initial');
    const [page] = (await bulkRuns(fenced).openPages()) as [BulkPageRow];
    await former?.release();
    expect(await bulkRuns(fenced).attempt(page, 0)).not.toBeNull();
    const successor = await fencedLease(other, 'd');
    const late = bulkRuns(fenced).refused({ ...page, attempts: 1 }, 'late');
    await expect(late).rejects.toThrow(/another process has taken the role "d"/);
    const others = [() => channels(fenced).save(channelOf('Deals')), () => fenced.pool.query('update lockstep.watermark set noted_at = now()'), () => fenced.pool.query('delete from lockstep.catch_up')];
    for (const write of others) await expect(write()).rejects.toThrow(/another process/);
    expect(await bulkRuns(fenced).openPages()).toMatchObject([{ failure: null }]);
    const present = await other.fenced(successor as NonNullable<typeof successor>);
    await bulkRuns(present).refused({ ...page, attempts: 1 }, 'in time');
    await bulkRuns(db).failed(run?.id ?? 0, 'of the reader');
    expect(await bulkRuns(db).all()).toMatchObject([{ state: 'failed' }]);
    await Promise.all([fenced.close(), present.close(), successor?.release()]);
    await db.pool.query('truncate lockstep.bulk_page, lockstep.bulk_run cascade');
  });
});

const channelOf = (module: string) => {
  const at = new Date('2026-05-04T10:00:00Z');
  return { module, channelId: '1', requestedUntil: at, grantedUntil: at, renewAt: at, enabledAt: at, openedAt: at };
};

/** A way to the database that can stop carrying anything while all its connections stay open. */
async function silentProxy(host: string, port: number) {
  const sockets = new Set<Socket>();
  const server = createServer((near) => {
    const far = createConnection({ host, port });
    for (const [from, to] of [[near, far], [far, near]] as const) {
      sockets.add(from);
      from.on('error', () => to.destroy());
      from.on('close', () => to.destroy());
      from.pipe(to);
    }
  });
  await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve));
  return {
    port: (server.address() as AddressInfo).port,
    fallSilent: () => {
      for (const socket of sockets) socket.unpipe().pause();
    },
    close: () => {
      for (const socket of sockets) socket.destroy();
      server.close();
    },
  };
}

describe('tokenStore', () => {
  test('lets one process at a time ask for a token, and all see the result, with what is left of its life', async () => {
    const refreshed: string[] = [];
    const refresh = (database: Database, token: string): Promise<string> =>
      tokenStore(database).exclusively(async ({ current, asking, write }) => {
        if (current !== undefined) return current.token;
        await asking();
        await write({ token, livesMs: 3_600_000 });
        refreshed.push(token);
        return token;
      });
    const [a, b] = await Promise.all([refresh(db, 'one'), refresh(other, 'two')]);
    expect(a).toBe(b);
    expect(refreshed).toEqual([a]);
    const stored = await tokenStore(other).read();
    expect(stored?.token).toBe(a);
    expect(stored?.livesMs).toBeLessThanOrEqual(3_600_000);
    expect(stored?.livesMs).toBeGreaterThan(3_500_000);
  });

  test('keeps the old token when none is given, and notes that one was requested', async () => {
    const before = await tokenStore(db).read();
    await expect(
      tokenStore(db).exclusively(async ({ asking }) => {
        await asking();
        throw new Error('refused');
      }),
    ).rejects.toThrow('refused');
    expect((await tokenStore(db).read())?.token).toEqual(before?.token);
    const ago = await tokenStore(other).exclusively(async ({ askedAgoMs }) => askedAgoMs);
    expect(ago).toHaveLength(2);
    expect(ago[0]).toBeGreaterThanOrEqual(0);
    expect(ago[0]).toBeLessThanOrEqual(ago[1] ?? 0);
  });

  test('lets the next one ask when the connection of the one before breaks', async () => {
    const inTurn = Promise.withResolvers<void>();
    const broken = tokenStore(db).exclusively(async ({ asking }) => {
      inTurn.resolve();
      await other.pool.query(`select pg_terminate_backend(pid) from pg_locks where locktype = 'advisory' and database = (select oid from pg_database where datname = current_database())`);
      await asking();
    });
    await inTurn.promise;
    await expect(broken).rejects.toThrow(/terminat|connection/i);
    expect(await tokenStore(other).exclusively(async ({ current }) => current?.token)).toBeDefined();
  });
});

describe('textCuts', () => {
  test('keep the least that was seen of each field', async () => {
    const cuts = textCuts(db);
    for (const characters of [500, 300, 500]) await cuts.note({ module: 'Deals', field: 'Description', characters });
    await cuts.note({ module: 'Leads', field: 'Description', characters: 255 });
    expect((await textCuts(other).all()).toSorted((a, b) => a.characters - b.characters)).toEqual([
      { module: 'Leads', field: 'Description', characters: 255 },
      { module: 'Deals', field: 'Description', characters: 300 },
    ]);
  });
});

describe('creditUse', () => {
  const spent = (look: number, remaining: number | null = null) => ({ credits: { look, 'catch-up': 5, 'bulk-read': 50, retry: 2, other: 1 }, remaining });
  const setBack = async (hours: number): Promise<void> => void (await db.pool.query('update lockstep.credit_use set hour = hour - make_interval(hours => $1)', [hours]));
  beforeEach(async () => void (await db.pool.query('delete from lockstep.credit_use')));

  test('adds up what all processes spent over the hours of the database that reach into the last 24', async () => {
    await creditUse(db).add(spent(1_000));
    await setBack(1);
    await creditUse(db).add(spent(100, 7));
    await setBack(24);
    await Promise.all([creditUse(db).add(spent(1)), creditUse(other).add(spent(2))]);
    expect(await creditUse(db).ofDay()).toEqual({ credits: { look: 103, 'catch-up': 15, 'bulk-read': 150, retry: 6, other: 3 }, remaining: null });
  });

  test('reports what the CRM said last is left', async () => {
    await creditUse(other).add(spent(1, 40));
    expect((await creditUse(db).ofDay()).remaining).toBe(40);
    await creditUse(db).add(spent(1));
    expect((await creditUse(db).ofDay()).remaining).toBeNull();
  });

  test('forgets after eight days', async () => {
    await creditUse(db).add(spent(1));
    await setBack(8 * 24 + 1);
    await creditUse(db).add(spent(1));
    const { rows } = await db.pool.query<{ count: number }>('select count(*)::int as count from lockstep.credit_use');
    expect(rows[0]?.count).toBe(1);
  });
});

describe('creditBuckets', () => {
  const bucket: CreditDraw = { capacity: 100, perDay: 86_400, credits: 1, keep: 0, ceiling: null };
  const later = async (seconds: number): Promise<void> => void (await db.pool.query('update lockstep.credit_bucket set refilled_at = refilled_at - make_interval(secs => $1)', [seconds]));
  beforeEach(async () => void (await db.pool.query(`update lockstep.credit_bucket set level = 'infinity', refilled_at = now()`)));

  test('give out no more than they hold, however many processes draw at once', async () => {
    const draws = await Promise.all(Array.from({ length: 150 }, (_, at) => creditBuckets(at % 2 === 0 ? db : other).draw('day', { ...bucket, perDay: 1 })));
    expect(draws.filter(({ isDrawn }) => isDrawn)).toHaveLength(100);
    expect(Math.min(...draws.map(({ level }) => level))).toBeGreaterThanOrEqual(0);
  });

  test('leave what a draw has to leave, and take all of it or none', async () => {
    const draw = (credits: number, keep: number) => creditBuckets(db).draw('day', { ...bucket, perDay: 1, credits, keep });
    expect(await draw(51, 50)).toMatchObject({ isDrawn: false, level: 100 });
    expect((await draw(50, 50)).isDrawn).toBe(true);
    expect((await draw(1, 50)).isDrawn).toBe(false);
    expect((await draw(1, 0)).isDrawn).toBe(true);
  });

  test('fill by the database\'s clock up to what they hold, and not at all when it is set back', async () => {
    await creditBuckets(db).draw('day', { ...bucket, credits: 100 });
    await later(40);
    expect((await creditBuckets(other).draw('day', { ...bucket, credits: 0 })).level).toBeCloseTo(40, 0);
    await later(-3_600);
    expect((await creditBuckets(db).draw('day', { ...bucket, credits: 0 })).level).toBeCloseTo(40, 0);
    await later(1_000);
    expect((await creditBuckets(db).draw('day', { ...bucket, credits: 0 })).level).toBe(100);
  });

  test('hold no more than the CRM says is left, get back what was not spent, and are apart from each other', async () => {
    expect((await creditBuckets(db).draw('day', { ...bucket, perDay: 1, credits: 0, ceiling: 7 })).level).toBeCloseTo(7, 2);
    expect((await creditBuckets(db).draw('day', { ...bucket, perDay: 1, credits: -3 })).level).toBeCloseTo(10, 2);
    expect((await creditBuckets(db).draw('retry', { ...bucket, perDay: 1, credits: 0 })).level).toBe(100);
  });

  test('remember what the day\'s credits were found to be, by source', async () => {
    await creditBuckets(db).noteLimit('header', 4_000);
    await creditBuckets(other).noteLimit('edition', 62_000);
    await creditBuckets(other).noteLimit('header', 5_000);
    const limits = await creditBuckets(db).limits();
    expect(Object.fromEntries(limits.map(({ source, perDay }) => [source, perDay]))).toEqual({ header: 5_000, edition: 62_000 });
    for (const { ageMs } of limits) expect(ageMs).toBeLessThan(60_000);
  });
});

describe('bulkRuns', () => {
  const runs = () => bulkRuns(db);
  const open = async (): Promise<BulkPageRow> => (await runs().openPages())[0] as BulkPageRow;

  beforeEach(async () => {
    await db.pool.query('truncate lockstep.bulk_run, lockstep.bulk_page, lockstep.catch_up');
  });

  test('a module has one run at a time', async () => {
    expect(await runs().start('Leads', 'initial', { expectedRows: 10 })).toMatchObject({ module: 'Leads', state: 'running' });
    expect(await runs().start('Leads', 'initial', { expectedRows: 10 })).toBeNull();
    expect(await runs().start('Deals', 'initial')).not.toBeNull();
  });

  test('a chain of pages ends the run with its last page', async () => {
    const run = await runs().start('Leads', 'initial', { expectedRows: 5 });
    await runs().requested(await open(), { jobId: '1', createdTime: new Date('2026-03-02T10:00:00Z') });
    await runs().ready(await open(), { count: 3, moreRecords: true, nextPageToken: 'next' });
    const [first, second] = await runs().openPages();
    expect(second).toMatchObject({ pageNumber: 2, pageToken: 'next', state: 'wanted' });
    await runs().published(first as BulkPageRow, { rows: 3, ids: null });
    expect((await runs().all())[0]).toMatchObject({ state: 'running', firstJobCreatedAt: new Date('2026-03-02T10:00:00Z') });
    await runs().requested(second as BulkPageRow, { jobId: '2', createdTime: new Date() });
    await runs().ready(await open(), { count: 2, moreRecords: false });
    await runs().published(await open(), { rows: 2, ids: null });
    expect((await runs().all())[0]).toMatchObject({ id: run?.id, state: 'complete', finishedAt: expect.any(Date) });
    expect(await runs().openPages()).toEqual([]);
  });

  test('a run is not complete while a page is out, whichever comes last', async () => {
    await runs().start('Leads', 'initial');
    await runs().ready(await open(), { count: 3, moreRecords: true });
    const [first, second] = (await runs().openPages()) as [BulkPageRow, BulkPageRow];
    await runs().ready(second, { count: 2, moreRecords: false });
    await runs().published(second, { rows: 2, ids: null });
    expect((await runs().all())[0]).toMatchObject({ state: 'running' });
    await runs().published(first, { rows: 3, ids: null });
    expect((await runs().all())[0]).toMatchObject({ state: 'complete' });
  });

  test('a page that is read again keeps the pages after it', async () => {
    await runs().start('Leads', 'initial');
    await runs().ready(await open(), { count: 3, moreRecords: true });
    await runs().wantedAgain(await open(), 'the result is gone');
    expect(await open()).toMatchObject({ state: 'wanted', failure: 'the result is gone', jobId: null });
    await runs().ready(await open(), { count: 3, moreRecords: true });
    expect((await runs().openPages()).map((page) => page.pageNumber)).toEqual([1, 2]);
  });

  test('a run began with the first job for its first page, even if that had to be requested again', async () => {
    await runs().start('Leads', 'refresh');
    await runs().requested(await open(), { jobId: '1', createdTime: new Date('2026-03-02T10:00:00Z') });
    await runs().wantedAgain(await open(), 'the result is gone');
    await runs().requested(await open(), { jobId: '2', createdTime: new Date('2026-03-02T11:00:00Z') });
    expect((await runs().all())[0]).toMatchObject({ firstJobCreatedAt: new Date('2026-03-02T10:00:00Z') });
    await runs().failed((await runs().all())[0]?.id as number, 'enough');
  });

  test('a page that waits for its next attempt is due at once when a person wants it, and no other module\'s', async () => {
    const [lead, deal] = [await runs().start('Leads', 'initial'), await runs().start('Deals', 'initial')];
    const pageOf = async (run: { readonly id: number } | null) => (await runs().pagesOf(run?.id as number))[0] as BulkPageRow;
    for (const run of [lead, deal]) await runs().attempt(await pageOf(run), 3_600_000);
    expect([await pagesDueNow(db, 'Leads'), await pagesDueNow(db, 'Leads')]).toEqual([1, 0]);
    const waits = async (run: { readonly id: number } | null): Promise<boolean> => ((await pageOf(run)).nextAttemptAt?.getTime() ?? 0) > Date.now() + 60_000;
    expect([await waits(lead), await waits(deal)]).toEqual([false, true]);
  });

  test('a first load that failed begins again when a person wants that, and no other does', async () => {
    expect(await restartFailedLoad(db, 'Leads')).toBe(false);
    const run = await runs().start('Leads', 'initial', { expectedRows: 7 });
    expect(await restartFailedLoad(db, 'Leads')).toBe(false);
    await runs().failed(run?.id as number, 'five attempts');
    expect([await restartFailedLoad(db, 'Deals'), await restartFailedLoad(db, 'Leads'), await restartFailedLoad(db, 'Leads')]).toEqual([false, true, false]);
    expect((await runs().all()).map(({ kind, state, expectedRows }) => [kind, state, expectedRows])).toEqual([['initial', 'failed', 7], ['initial', 'running', 7]]);
    await db.pool.query(`update lockstep.bulk_run set state = 'complete' where state = 'running'`);
    expect(await restartFailedLoad(db, 'Leads')).toBe(false);
  });

  test('a failed run leaves the module free for another', async () => {
    const run = await runs().start('Leads', 'initial');
    await runs().failed(run?.id as number, 'five attempts');
    expect(await runs().openPages()).toEqual([]);
    expect(await runs().start('Leads', 'initial')).not.toBeNull();
  });
});

describe('referrers', () => {
  const definition = { keyColumn: 'id', modifiedTimeColumn: 'modified_time', onDelete: { action: 'remove' } } as const;
  const orders = defineModule({
    ...definition,
    apiName: 'Orders',
    slug: 'orders',
    table: { schema: 'public', name: 'orders' },
    fields: [
      { field: 'Account_Name', kind: 'lookup', column: 'account_id', type: 'bigint', refersTo: 'Accounts' },
      { field: 'Payer', kind: 'lookup', column: 'payer_id', type: 'bigint', refersTo: 'Accounts' },
      { field: 'Contact_Name', kind: 'lookup', column: 'contact_id', type: 'bigint', refersTo: 'Contacts' },
    ],
  });
  const accounts = defineModule({ ...definition, apiName: 'Accounts', slug: 'accounts', table: { schema: 'public', name: 'accounts' }, fields: [{ field: 'Parent_Account', kind: 'lookup', column: 'parent_id', type: 'bigint', refersTo: 'Accounts' }] });

  test('are the rows whose lookups point to a record, in any module, its own too', async () => {
    await db.pool.query('create table public.orders (id bigint, account_id bigint, payer_id bigint, contact_id bigint); create table public.accounts (id bigint, parent_id bigint)');
    await db.pool.query('insert into public.orders values (1, 7, null, null), (2, 8, 7, null), (3, null, null, 7), (4, 9, 9, 9); insert into public.accounts values (5, 7), (6, 8)');
    expect(await referrers(db, [orders, accounts]).to('Accounts', ['7'])).toEqual([{ module: 'Orders', ids: ['1', '2'] }, { module: 'Accounts', ids: ['5'] }]);
    expect(await referrers(db, [orders, accounts]).to('Contacts', ['7', '8'])).toEqual([{ module: 'Orders', ids: ['3'] }]);
    expect(await referrers(db, [orders, accounts]).to('Accounts', [])).toEqual([]);
  });

  test('are records that wait and name it, too', async () => {
    const park = (module: string, recordId: string | null, value: string | null) =>
      db.pool.query(`insert into lockstep.parked (module, topic_id, topic, partition, log_offset, code, cause, retryable, record_id, value) select $1, 't', 't', 0, count(*), '23503', 'c', true, $2, $3 from lockstep.parked`, [module, recordId, value]);
    for (const [id, names] of [['21', '70'], ['22', '700'], ['1', '70'], [null, '70']] as const) await park('Orders', id, JSON.stringify({ id, fields: [names, null] }));
    await park('Accounts', '70', JSON.stringify({ id: '70', fields: ['8'] }));
    await park('Orders', '23', null);
    await db.pool.query('insert into public.orders values (1, 70, null, null)');
    expect(await referrers(db, [orders, accounts]).to('Accounts', ['70', '71'])).toEqual([{ module: 'Orders', ids: ['1', '21'] }]);
  });
});

describe('channels', () => {
  test('keeps one channel a module', async () => {
    const channel = { module: 'Leads', channelId: '1', requestedUntil: new Date(2), grantedUntil: new Date(3), renewAt: new Date(4), enabledAt: new Date(1), openedAt: new Date(1) };
    await channels(db).save(channel);
    await channels(db).save({ ...channel, grantedUntil: new Date(9) });
    expect(await channels(db).all()).toEqual([expect.objectContaining({ ...channel, grantedUntil: new Date(9) })]);
  });
});

describe('errors', () => {
  const failure = (sql: string): Promise<unknown> => db.pool.query(sql).then(() => null, (error: unknown) => error);

  test('a fault of the data is not transient', async () => {
    const error = await failure(`select 'x'::int`);
    expect(sqlState(error)).toBe('22P02');
    expect(isTransient(error)).toBe(false);
  });

  test('a connection that was ended and a server that is away are transient', async () => {
    expect(isTransient(await failure('select pg_terminate_backend(pg_backend_pid())'))).toBe(true);
    const nowhere = await connect({ url: 'postgres://nobody@127.0.0.1:1/none', poolSize: 2 }).catch((error: unknown) => error);
    const error = nowhere instanceof Error ? nowhere : await (nowhere as Database).ping().catch((cause: unknown) => cause);
    expect(isTransient(error)).toBe(true);
  });
});
