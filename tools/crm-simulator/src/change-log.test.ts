import { afterAll, beforeAll, expect, test } from 'vitest';

import { drivenClock } from './clock.ts';
import { type CrmUnderTest, type Json, startCrm } from './crm-under-test.ts';

const clock = drivenClock(Date.UTC(2026, 0, 1));
let crm: CrmUnderTest;

beforeAll(async () => {
  crm = await startCrm({ clock, records: { Leads: 3 } });
});
afterAll(() => crm.close());

const get = async (path: string): Promise<Json[]> => (await crm.get(`/__simulator/${path}`)).body as Json[];

test('the history holds each version as it was, the quiet ones too; the list of edits leaves those out', async () => {
  const [id = ''] = crm.crm.firstIds('Leads', 1);
  const first = crm.crm.editRecord('Leads', id, { Company: 'One' });
  const [quiet] = crm.crm.massEdit('Leads', [id], { Company: 'Two' }, { keepsTime: true });
  await clock.advance(60_000);
  const second = crm.crm.editRecord('Leads', id, { City: 'Athens' });
  const { deleted_time: deletedTime } = crm.crm.deleteRecord('Leads', id);
  const restored = crm.crm.restoreRecord('Leads', id, true);
  expect(await get('history')).toEqual([
    { seq: 1, module: 'Leads', id, operation: 'update', modifiedTime: first.Modified_Time, movesTime: true, record: first },
    { seq: 2, module: 'Leads', id, operation: 'update', modifiedTime: expect.any(String), movesTime: false, record: quiet },
    { seq: 3, module: 'Leads', id, operation: 'update', modifiedTime: second.Modified_Time, movesTime: true, record: second },
    { seq: 4, module: 'Leads', id, operation: 'delete', modifiedTime: deletedTime, movesTime: true, record: null },
    { seq: 5, module: 'Leads', id, operation: 'update', modifiedTime: second.Modified_Time, movesTime: false, record: restored },
  ]);
  expect(quiet).toMatchObject({ Company: 'Two', Modified_Time: first.Modified_Time });
  expect((await get('history?after=3')).map(({ seq }) => seq as number)).toEqual([4, 5]);
  expect((await get('traffic/edits')).map(({ seq }) => seq as number)).toEqual([1, 3, 4]);
});
