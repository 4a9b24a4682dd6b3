import { createTestDatabase, type TestDatabase } from '@lockstep/local-stack';
import { encodeDeleted, encodeRepaired, encodeSeen } from '@lockstep/record-log';
import { afterEach, beforeEach, expect, test } from 'vitest';

import { connect, type Database } from './database.ts';

let testDatabase: TestDatabase;
let db: Database;

beforeEach(async () => {
  testDatabase = await createTestDatabase();
  db = await connect({ url: testDatabase.url, poolSize: 2 });
});
afterEach(async () => {
  await db.close();
  await testDatabase.drop();
});

test('what was parked before versions were kept gets version and coverage from its value; what has none, or no readable one, stays without', async () => {
  await db.orm.migrator.up({ to: '008-add-page-ends' });
  const sighting = { id: '1', modifiedMs: 5_000, observedMs: 6_000, coverage: 'deadbeef', fields: ['föx "quoted" \n'] };
  const [seen, repaired] = [encodeSeen(sighting), encodeRepaired({ ...sighting, versionMs: 9_000 })];
  const values = [seen.value, repaired.value, encodeDeleted({ id: '1', deletedMs: 7_000 }), '{ "v": 1 }', Buffer.from([0xff, 0x00, 0x7b]), null];
  for (const [offset, value] of values.entries()) {
    await db.pool.query(`insert into lockstep.parked (module, topic_id, topic, partition, log_offset, record_id, code, cause, retryable, value) values ('Leads', 't', 't', 0, $1, '1', '23503', '', true, $2)`, [offset, value === null ? null : Buffer.from(value)]);
  }
  await db.orm.migrator.up();
  const { rows } = await db.pool.query(
    `select modified_ms::int as m, version_ms::int as t, observed_ms::int as o, replace(content_hash::text, '-', '') as hash, deleted_ms::int as d, coverage as c from lockstep.parked order by log_offset`,
  );
  const unknown = { m: null, t: null, o: null, hash: null, d: null, c: null };
  expect(rows).toEqual([
    { m: 5_000, t: null, o: 6_000, hash: seen.hash, d: null, c: 'deadbeef' },
    { m: 5_000, t: 9_000, o: 6_000, hash: repaired.hash, d: null, c: 'deadbeef' },
    { ...unknown, d: 7_999 },
    unknown,
    unknown,
    unknown,
  ]);
});
