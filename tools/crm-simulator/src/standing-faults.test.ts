import { afterEach, expect, test } from 'vitest';

import { type CrmUnderTest, startCrm } from './crm-under-test.ts';

let crm: CrmUnderTest;
afterEach(() => crm.close());

const admin = async <T>(method: string, path: string, body?: object): Promise<T> => {
  const reply = await fetch(`${crm.crm.url}/__simulator/${path}`, { method, ...(body === undefined ? {} : { body: JSON.stringify(body) }) });
  return (await reply.json()) as T;
};
const look = (ids: readonly string[]) => crm.send('POST', '/crm/v8/coql', { select_query: `select id, Company, Modified_Time from Leads where id in (${ids.join(', ')}) limit 10` });

test('a call that is refused stays refused, however often it is repeated, until that is lifted; others are answered', async () => {
  crm = await startCrm();
  const [one, other] = await admin<[string, string]>('GET', 'ids/Leads?first=2');
  const { id } = await admin<{ id: number }>('POST', 'refusals', { method: 'POST', url: '/coql', body: one, status: 400, code: 'INVALID_QUERY', message: 'no', details: { column_name: 'Fax' } });
  for (let call = 0; call < 2; call += 1) expect(await look([one, other])).toMatchObject({ status: 400, body: { code: 'INVALID_QUERY', message: 'no', details: { column_name: 'Fax' } } });
  expect((await look([other])).status).toBe(200);
  expect(await admin('GET', 'refusals')).toMatchObject([{ id, hits: 2 }]);
  await admin('DELETE', `refusals/${id}`);
  expect((await look([one, other])).status).toBe(200);
  expect(await admin('DELETE', `refusals/${id}`)).toMatchObject({ code: 'UNKNOWN_FAULT' });
});

test('a value is shown as something else by queries, until it is shown as it is', async () => {
  crm = await startCrm();
  const [id] = await admin<[string]>('GET', 'ids/Leads?first=1');
  const was = await look([id]);
  await admin('POST', 'shown', { module: 'Leads', id, field: 'Modified_Time', value: null });
  expect((await look([id])).body).toMatchObject({ data: [{ id, Modified_Time: null }] });
  await admin('POST', 'shown', { module: 'Leads', id, field: 'Modified_Time' });
  expect((await look([id])).body).toEqual(was.body);
});
