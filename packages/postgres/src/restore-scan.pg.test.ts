import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';

import { type CatchUpRow, catchUps, restoreScanDueNow } from './catch-ups.ts';
import type { Database } from './database.ts';
import { openTestDatabase } from './testing.ts';

const at = (minute: number): Date => new Date(Date.UTC(2026, 2, 2, 10, minute));
const monthsAgo = new Date(Date.UTC(2026, 0, 1));
const found = { rows: 0, seen: 0, unhinted: 0, deleted: 0 };

let db: Database;
beforeAll(async () => {
  db = await openTestDatabase([{ slug: 'leads', apiName: 'Leads' }]);
});
afterAll(() => db.close());
beforeEach(async () => void (await db.pool.query('truncate lockstep.catch_up')));

async function want(minute: number, isRestoreScan: boolean): Promise<CatchUpRow> {
  await catchUps(db).want('Leads', { from: at(minute), deletedFrom: at(minute - 1), isSecondPass: false, isRestoreScan, scanFrom: isRestoreScan ? monthsAgo : null });
  return (await catchUps(db).open())[0] as CatchUpRow;
}
async function complete(one: CatchUpRow, scannedFrom: Date | null, failure: string | null): Promise<void> {
  if (one.isRestoreScan) await catchUps(db).scanned(one.id, scannedFrom, failure);
  await catchUps(db).read(one.id, at(50), found);
  await catchUps(db).complete(one.id);
}

test('a scan for restores that failed is tried at once, over its whole depth, with the window of the latest catch-up', async () => {
  expect(await restoreScanDueNow(db, 'Leads')).toBe(false);
  await complete(await want(1, true), null, 'the list fails at page 11');
  await complete(await want(5, false), null, null);
  expect(await restoreScanDueNow(db, 'Leads')).toBe(true);
  const [open] = await catchUps(db).open();
  expect(open).toMatchObject({ state: 'wanted', from: at(5), deletedFrom: at(4), isSecondPass: false, isRestoreScan: true, scanFrom: monthsAgo });
  await complete(open as CatchUpRow, monthsAgo, null);
  expect([await restoreScanDueNow(db, 'Leads'), await catchUps(db).open()]).toEqual([false, []]);
});

test('while a catch-up is under way, the next one is due to scan', async () => {
  await complete(await want(1, true), null, 'the list fails at page 11');
  await want(5, false);
  expect(await restoreScanDueNow(db, 'Leads')).toBe(true);
  const { scanTried, restoreScan, scanned } = await catchUps(db).latest('Leads');
  expect([scanTried, restoreScan, scanned?.scanFailure]).toEqual([undefined, undefined, 'the list fails at page 11']);
});
