import { afterAll, beforeAll, expect, test } from 'vitest';

import { drivenClock } from './clock.ts';
import { type CrmUnderTest, startCrm } from './crm-under-test.ts';

const clock = drivenClock(Date.UTC(2026, 0, 1, 12));
let crm: CrmUnderTest;

beforeAll(async () => {
  crm = await startCrm({ clock, records: { Leads: 50 } });
});
afterAll(() => crm.close());

/** Company and time of what changed since noon, as a query finds it. */
async function changed(): Promise<unknown[]> {
  const { body } = await crm.send('POST', '/crm/v8/coql', { select_query: "select id, Company, Modified_Time from Leads where Modified_Time >= '2026-01-01T12:00:00Z' order by Modified_Time asc, id asc limit 200" });
  return ((body['data'] ?? []) as { Company: string; Modified_Time: string }[]).map((row) => [row.Company, new Date(row.Modified_Time).toISOString().slice(14, 19)]);
}

test('a query that lags finds what it still shows at its old place, so that a second edit does not hide the first', async () => {
  const [first, second] = crm.crm.firstIds('Leads', 2) as [string, string];
  crm.crm.editRecord('Leads', first, { Company: 'One' });
  await clock.advance(5_000);
  crm.crm.editRecord('Leads', second, { Company: 'Other' });
  await clock.advance(5_000);
  crm.crm.setFaults({ staleMs: 2_000 });
  crm.crm.editRecord('Leads', first, { Company: 'Two' });
  expect(await changed()).toEqual([['One', '00:00'], ['Other', '00:05']]);
  await clock.advance(2_000);
  expect(await changed()).toEqual([['Other', '00:05'], ['Two', '00:10']]);
  crm.crm.deleteRecord('Leads', second);
  expect(await changed()).toHaveLength(2);
  await clock.advance(2_000);
  expect(await changed()).toEqual([['Two', '00:10']]);
});
