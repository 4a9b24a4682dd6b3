import { createTestDatabase, type TestDatabase } from '@lockstep/local-stack';
import { afterAll, beforeAll, expect, test } from 'vitest';

import { catchUps } from './catch-ups.ts';
import { connect, type Database } from './database.ts';
import { migrate } from './migrate.ts';
import { trimHistory } from './trim.ts';

let testDatabase: TestDatabase;
let db: Database;

beforeAll(async () => {
  testDatabase = await createTestDatabase();
  db = await connect({ url: testDatabase.url, poolSize: 2 });
  await migrate(db, []);
});
afterAll(async () => {
  await db.close();
  await testDatabase.drop();
});

test('what is old goes but for the last of it; what decisions rest on stays, and so does what is open', async () => {
  const year = `now() - interval '1 year'`;
  await db.pool.query(`
    insert into lockstep.bulk_run (module, kind, state, started_at, finished_at)
      select 'Leads', k, s, ${year}, ${year} from (values ('initial', 'failed'), ('initial', 'complete'), ('refresh', 'complete')) v (k, s)
      union all select 'Leads', 'refresh', 'complete', ${year}, ${year} from generate_series(1, 24);
    insert into lockstep.bulk_page (run_id, module, page_number, state) select id, module, 1, 'published' from lockstep.bulk_run;
    insert into lockstep.catch_up (module, state, from_time, deleted_from, is_second_pass, is_restore_scan, wanted_at, scan_from, scanned_from)
      select 'Leads', 'complete', ${year}, ${year}, true, true, ${year}, ${year}, ${year};
    insert into lockstep.catch_up (module, state, from_time, deleted_from, is_second_pass, is_restore_scan, wanted_at)
      select 'Leads', 'complete', ${year}, ${year}, false, false, ${year} from generate_series(1, 1500);
    insert into lockstep.catch_up (module, state, from_time, deleted_from, is_second_pass, is_restore_scan) values ('Leads', 'wanted', now(), now(), false, false);
    insert into lockstep.incident (module, kind, opened_at, details) values ('Leads', 'records-hidden', ${year}, 'open');
    insert into lockstep.incident (module, kind, opened_at, closed_at, details) select 'Leads', 'catch-up-late', ${year}, ${year}, 'x' from generate_series(1, 1200);
    insert into lockstep.dead_letter (source, position, code, cause, at, resolved_at) values ('look', '{"id": "1"}', 'C', 'open', ${year}, null), ('look', '{"id": "2"}', 'C', 'settled', ${year}, ${year}), ('look', '{"id": "3"}', 'C', 'settled now', ${year}, now())`);
  // Of the catch-ups the last thousand stay, and the scan; of the runs the last twenty, and the first load.
  expect(await trimHistory(db)).toEqual({ catchUps: 501, runs: 6, incidents: 200, letters: 1 });
  expect(await trimHistory(db)).toEqual({ catchUps: 0, runs: 0, incidents: 0, letters: 0 });
  const { restoreScan, secondPass } = await catchUps(db).latest('Leads');
  expect([restoreScan, secondPass].map((one) => one?.id)).toEqual([1, 1]);
  const { rows } = await db.pool.query(`select (select count(*)::int from lockstep.bulk_run where kind = 'initial') as initial, (select count(*)::int from lockstep.catch_up where state = 'wanted') as wanted, (select count(*)::int from lockstep.incident where closed_at is null) as open`);
  expect(rows).toEqual([{ initial: 1, wanted: 1, open: 1 }]);
});
