import { createTestDatabase, type TestDatabase } from '@lockstep/local-stack';
import { coverageOf, leads } from '@lockstep/modules';
import { connect, type Database, migrate } from '@lockstep/postgres';
import { adoptMapping, loadPositions, type LogMessage, ModuleProjection } from '@lockstep/projection';
import { encodeCoverage, encodeSeen } from '@lockstep/record-log';
import { createLogger } from '@lockstep/telemetry';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';

import { type AssignedPartition, Lane } from './lane.ts';

const log = createLogger({ app: 'test', level: 'silent', isPretty: false });
const covered = coverageOf(leads);
const idOf = (n: number): string => String(5_725_767_000_000_000_000n + BigInt(n));
/** A wait that nothing ends is a failure; not one of a minute. */
const SHORT = 15_000;

let testDatabase: TestDatabase;
let db: Database;
let projection: ModuleProjection;
let topicId: string;
let lane: Lane;
let halted: { partition: number; code: unknown }[];
let gaps: number[];
let messagesApplied: number;
let mostParked: number;
let onApplied: (partitions: readonly AssignedPartition[]) => void;
let changed = (): void => undefined;

beforeAll(async () => {
  testDatabase = await createTestDatabase({ legacySchema: true });
  db = await connect({ url: testDatabase.url, poolSize: 4 });
  await migrate(db, [leads]);
});
afterAll(async () => {
  await db.close();
  await testDatabase.drop();
});
beforeEach(async () => {
  await db.pool.query('truncate public.leads cascade');
  await db.pool.query('truncate lockstep.record_version, lockstep.projection_offset, lockstep.parked');
  topicId = crypto.randomUUID();
  projection = new ModuleProjection(leads, 60_000);
  await adoptMapping(db.pool, projection);
  [halted, gaps, messagesApplied, mostParked, onApplied] = [[], [], 0, 100, () => undefined];
  lane = laneOf();
});
afterEach(() => lane.close());

const laneOf = (maxBatchMessages = 500, database = db): Lane =>
  new Lane({
    db: database,
    log,
    maxBatchMessages,
    mostParked: () => mostParked,
    onApplied: (_, { applied, refused, rejects }, __, partitions) => {
      messagesApplied += applied + refused + rejects;
      onApplied(partitions);
      changed();
    },
    onHalt: (assigned, error) => {
      for (const one of assigned) {
        one.isStopped = true;
        halted.push({ partition: one.partition, code: (error as { code?: unknown }).code ?? error });
      }
      changed();
    },
    onGap: ({ next }) => {
      gaps.push(next);
      changed();
    },
  });

async function assign(partition: number, topic = 'leads'): Promise<AssignedPartition> {
  const id = topic === 'leads' ? topicId : crypto.randomUUID();
  await loadPositions(db.pool, { topic: id, topicId: id, partitions: [partition] });
  return { projection, topic, topicId: id, partition, next: 0, isStopped: false };
}

/** Messages of a partition from this offset on: the first of all declares the coverage, the others see a record each. */
const messages = (partition: number, from: number, count: number): LogMessage[] =>
  Array.from({ length: count }, (_, i) => {
    const offset = from + i;
    const seen = encodeSeen({ id: idOf(partition * 1_000 + offset), modifiedMs: 1_700_000_000_000, observedMs: 1_700_000_000_000, coverage: covered.id, fields: covered.fields.map(() => null) });
    return { partition, offset, value: Buffer.from(offset === 0 ? encodeCoverage({ coverage: covered.id, fields: covered.fields }) : seen.value) };
  });
const ofNewerVersion = (partition: number, offset: number): LogMessage => ({ partition, offset, value: Buffer.from('{"v":9,"type":"seen","id":"7"}') });

const push = (assigned: AssignedPartition, list: readonly LogMessage[], { from = list[0]?.offset ?? 0, following = (list.at(-1)?.offset ?? -1) + 1 } = {}): void =>
  lane.push({ assigned, from, messages: list, following, bytes: 10 * list.length });
const rowsOf = async (partition: number): Promise<number> => Number((await db.pool.query<{ n: string }>(`select count(*) n from leads where id between ${idOf(partition * 1_000)} and ${idOf(partition * 1_000 + 999)}`)).rows[0]?.n);

async function until(isDone: () => boolean): Promise<void> {
  while (!isDone()) {
    await new Promise<void>((resolve) => {
      changed = resolve;
    });
  }
}

describe('a lane', { timeout: SHORT }, () => {
  test('applies the batches of its partitions together, and notes where each stands', async () => {
    const [a, b] = [await assign(0), await assign(1)];
    push(a, messages(0, 0, 5));
    push(b, messages(1, 0, 3));
    push(a, messages(0, 5, 2));
    await until(() => a.next === 7 && b.next === 3);
    expect([await rowsOf(0), await rowsOf(1), lane.queuedBytes]).toEqual([6, 2, 0]);
  });

  test('asks for what is missing between two fetches, and skips nothing', async () => {
    const a = await assign(0);
    push(a, messages(0, 0, 3));
    push(a, messages(0, 5, 2));
    await until(() => a.next === 3 && gaps.length > 0);
    push(a, messages(0, 8, 2));
    await until(() => gaps.length === 2);
    expect([gaps[1], a.next, await rowsOf(0)]).toEqual([3, 3, 2]);
    push(a, messages(0, 3, 7));
    await until(() => a.next === 10);
    expect(await rowsOf(0)).toBe(9);
  });

  test('goes on over offsets that are no messages: in front of them, behind them, and where there are none', async () => {
    const a = await assign(0);
    push(a, messages(0, 0, 3), { following: 5 });
    push(a, messages(0, 7, 2), { from: 5, following: 10 });
    push(a, [], { from: 10, following: 12 });
    await until(() => a.next === 12);
    push(a, messages(0, 14, 1), { from: 13 });
    await until(() => gaps.length > 0);
    expect([gaps, await rowsOf(0), (await loadPositions(db.pool, { topic: topicId, topicId, partitions: [0] })).get(0)]).toEqual([[12], 4, 12]);
  });

  test('leaves out what it has applied already', async () => {
    const a = await assign(0);
    push(a, messages(0, 0, 4));
    await until(() => a.next === 4);
    push(a, messages(0, 0, 4));
    push(a, messages(0, 2, 4));
    await until(() => a.next === 6);
    expect([messagesApplied, await rowsOf(0)]).toEqual([5, 5]);
  });

  test('takes fewer messages at once where a transaction may not last so long', async () => {
    await db.pool.query(`create function public.ponder() returns trigger language plpgsql as $$ begin perform pg_sleep(0.03); return new; end $$;
      create trigger ponders before insert on public.leads for each row execute function public.ponder()`);
    const impatient = await connect({ url: `${testDatabase.url}?options=${encodeURIComponent('-c transaction_timeout=400ms')}`, poolSize: 4 });
    const slow = laneOf(500, impatient);
    try {
      const [a, b] = [await assign(0), await assign(1)];
      slow.push({ assigned: a, from: 0, messages: messages(0, 0, 18), following: 18, bytes: 1 });
      slow.push({ assigned: b, from: 0, messages: messages(1, 0, 5), following: 7, bytes: 1 });
      await until(() => a.next === 18 && b.next === 7);
      expect([await rowsOf(0), await rowsOf(1), halted, gaps]).toEqual([17, 4, [], []]);
    } finally {
      await slow.close();
      await impatient.close();
      await db.pool.query('drop function public.ponder cascade');
    }
  });

  test('takes no more messages at once than allowed, and those of one topic only', async () => {
    await lane.close();
    lane = laneOf(4);
    const batches: string[][] = [];
    onApplied = (partitions) => void batches.push(partitions.map(({ topic, partition, next }) => `${topic}/${partition}@${next}`));
    const [a, b, c] = [await assign(0), await assign(1), await assign(2, 'others')];
    push(a, messages(0, 0, 3));
    push(c, messages(2, 0, 2));
    push(b, messages(1, 0, 2));
    push(b, messages(1, 2, 2));
    await until(() => a.next + b.next + c.next === 9);
    expect(batches).toEqual([['leads/0@3', 'leads/1@2'], ['others/2@2'], ['leads/1@4']]);
  });
});

describe('a connection that breaks in a transaction', { timeout: SHORT }, () => {
  test('halts nothing: the batch is applied by the next one', async () => {
    const a = await assign(0);
    const other = await db.pool.connect();
    await other.query('begin; lock table public.leads in exclusive mode');
    push(a, messages(0, 0, 3));
    // Not by the session that holds the lock: what a transaction sees of the others stays as it first saw it.
    const endWaiting = "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'";
    await expect.poll(async () => (await db.pool.query(endWaiting)).rowCount, { timeout: SHORT }).toBe(1);
    await other.query('rollback');
    other.release();
    await until(() => a.next === 3);
    expect([halted, await rowsOf(0)]).toEqual([[], 2]);
  });
});

test('a wave halts the partitions that have messages left, with nothing parked', { timeout: SHORT }, async () => {
  mostParked = 2;
  const [a, b] = [await assign(0), await assign(1)];
  await db.pool.query('alter table public.leads add constraint none_of_one check (id < 5725767000000001000)');
  try {
    push(a, messages(0, 0, 4));
    push(b, messages(1, 0, 8));
    await until(() => halted.length > 0);
    expect([halted, await rowsOf(0), (await db.pool.query('select from lockstep.parked')).rowCount]).toEqual([[{ partition: 1, code: 'TOO_MANY_PARKED' }], 3, 0]);
  } finally {
    await db.pool.query('alter table public.leads drop constraint none_of_one');
  }
});

describe('a partition that cannot go on', { timeout: SHORT }, () => {
  test('is halted alone, and nothing that is queued of it is written', async () => {
    const [a, b] = [await assign(0), await assign(1)];
    push(a, [...messages(0, 0, 2), ofNewerVersion(0, 2)]);
    push(b, messages(1, 0, 3));
    push(a, messages(0, 3, 2));
    await until(() => halted.length > 0 && b.next === 3);
    push(a, messages(0, 0, 2));
    push(b, messages(1, 3, 2));
    await until(() => b.next === 5);
    expect([halted.map(({ partition }) => partition), await rowsOf(0), await rowsOf(1), a.next]).toEqual([[0], 0, 4, 0]);
  });

  test('because it was handed over writes nothing of what was taken before', async () => {
    const [a, b] = [await assign(0), await assign(1)];
    push(a, messages(0, 0, 3));
    a.isStopped = true;
    push(b, messages(1, 0, 3));
    await until(() => b.next === 3);
    expect([await rowsOf(0), await rowsOf(1), halted]).toEqual([0, 2, []]);
  });

  test('leaves no gap to be fetched again', async () => {
    const [a, b] = [await assign(0), await assign(1)];
    push(a, messages(0, 5, 3));
    a.isStopped = true;
    push(b, messages(1, 0, 3));
    await until(() => b.next === 3);
    expect(gaps).toEqual([]);
  });
});

describe('a position that another process moved', { timeout: SHORT }, () => {
  test('is read again, and what it has passed is left out', async () => {
    const a = await assign(0);
    await db.pool.query('update lockstep.projection_offset set next_offset = 3 where topic_id = $1', [topicId]);
    const declared = messages(0, 0, 1)[0] as LogMessage;
    push(a, [declared, ...messages(0, 1, 2), { ...declared, offset: 3 }, ...messages(0, 4, 2)]);
    await until(() => a.next === 6);
    expect([await rowsOf(0), halted]).toEqual([2, []]);
  });

  test('back is read again as well: what lies between is requested', async () => {
    const a = await assign(0);
    push(a, messages(0, 0, 4));
    await until(() => a.next === 4);
    await db.pool.query('update lockstep.projection_offset set next_offset = 2 where topic_id = $1', [topicId]);
    push(a, messages(0, 4, 2));
    await until(() => gaps.length > 0);
    expect([gaps, a.next]).toEqual([[2], 2]);
  });
});
