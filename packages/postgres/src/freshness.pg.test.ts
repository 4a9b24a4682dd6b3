import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';

import type { Database } from './database.ts';
import { readFreshness } from './freshness.ts';
import { incidents } from './incidents.ts';
import { openTestDatabase } from './testing.ts';
import { watermarks } from './watermarks.ts';

const at = new Date('2026-05-04T10:00:00Z');

let db: Database;

beforeAll(async () => {
  db = await openTestDatabase([{ slug: 'leads', apiName: 'Leads' }]);
  await db.pool.query(`insert into lockstep.mapping (module, fingerprint) values ('Leads', 'x')`);
});
beforeEach(async () => {
  await db.pool.query('truncate lockstep.watermark, lockstep.projection_offset');
  await watermarks(db).note({ module: 'Leads', kind: 'changes', at, topicId: 'ours', endOffsets: [5, 7] });
});
afterAll(() => db.close());

const position = (topicId: string, partition: number, next: number) => db.pool.query('insert into lockstep.projection_offset (topic_id, partition, topic, next_offset) values ($1, $2, $1, $3)', [topicId, partition, next]);
const seenUpTo = async (): Promise<Date | null | undefined> => (await readFreshness(db))[0]?.seenUpTo;

describe('a claim counts', () => {
  test('once every partition has reached the offset that it names, and not before', async () => {
    await position('ours', 0, 5);
    expect(await seenUpTo()).toBeNull();
    await position('ours', 1, 6);
    expect(await seenUpTo()).toBeNull();
    await db.pool.query('update lockstep.projection_offset set next_offset = 7 where partition = 1');
    expect(await seenUpTo()).toEqual(at);
  });

  test('by the positions in its own topic, by the topic\'s id: one of another topic neither makes nor unmakes it', async () => {
    for (const partition of [0, 1]) await position('another', partition, 100);
    expect(await seenUpTo()).toBeNull();
    await db.pool.query('truncate lockstep.projection_offset');
    for (const partition of [0, 1]) await position('ours', partition, 7);
    await position('another', 0, 1);
    expect(await seenUpTo()).toEqual(at);
  });
});

test('freshness says why changes arrive later, as long as credits are scarce', async () => {
  await incidents(db).open('', 'credits-scarce', 'looks at a module are 20 s apart');
  expect((await readFreshness(db))[0]).toMatchObject({ module: 'Leads', coarserBecause: 'looks at a module are 20 s apart' });
  await incidents(db).close('', 'credits-scarce');
  expect((await readFreshness(db))[0]).toMatchObject({ coarserBecause: null });
});
