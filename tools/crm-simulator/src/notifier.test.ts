import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';

import { drivenClock } from './clock.ts';
import { type CrmUnderTest, type Json, startCrm, startReceiver } from './crm-under-test.ts';

const clock = drivenClock(Date.UTC(2026, 0, 1, 12));
let crm: CrmUnderTest;
let receiver: Awaited<ReturnType<typeof startReceiver>>;

beforeAll(async () => {
  crm = await startCrm({ clock, records: { Leads: 300, Deals: 3 } });
  receiver = await startReceiver();
});
afterAll(async () => {
  await crm.close();
  await receiver.close();
});
afterEach(async () => {
  await crm.send('DELETE', '/crm/v8/actions/watch?channel_ids=77');
  receiver.received.length = 0;
});

const subscribe = (more: Json = {}) =>
  crm.send('POST', '/crm/v8/actions/watch', { watch: [{ channel_id: '77', events: ['Leads.all'], notify_url: `${receiver.url}/n?key1=val1`, token: 'secret', ...more }] });
const received = async (): Promise<Json[]> => {
  await crm.crm.notificationsSettled();
  return receiver.received;
};
const lead = (position: number): string => crm.crm.firstIds('Leads', position + 1).at(-1) ?? '';

describe('a notification', () => {
  test('of a creation names no fields', async () => {
    await subscribe();
    const { id } = crm.crm.createRecord('Leads', { Last_Name: 'Lovelace' });
    expect(await received()).toEqual([{
      server_time: clock.nowMs(),
      query_params: { key1: 'val1' },
      module: 'Leads',
      resource_uri: `${crm.crm.url}/crm/v2/Leads`,
      ids: [id],
      affected_fields: [],
      operation: 'insert',
      channel_id: '77',
      token: 'secret',
    }]);
  });

  test('of an edit names the fields, with values only where they were requested', async () => {
    await subscribe();
    crm.crm.editRecord('Leads', lead(0), { Company: 'Engines', Lead_Score: 7 });
    expect((await received())[0]).toMatchObject({ operation: 'update', affected_fields: [{ [lead(0)]: ['Company', 'Lead_Score'] }] });
    expect(receiver.received[0]).not.toHaveProperty('affected_values');
    await subscribe({ return_affected_field_values: true });
    crm.crm.editRecord('Leads', lead(0), { Lead_Score: 8 });
    expect((await received())[1]?.['affected_values']).toEqual([{ record_id: lead(0), values: { Lead_Score: 8 } }]);
  });

  test('with noise names records that did not change, and one that never was', async () => {
    await subscribe();
    crm.crm.setFaults({ noise: 1 });
    crm.crm.editRecord('Leads', lead(0), { Company: 'Engines' });
    crm.crm.setFaults({ noise: 0 });
    const ids = (await received())[0]?.['ids'] as string[];
    expect(ids[0]).toBe(lead(0));
    expect(ids.slice(1).map((id) => crm.crm.firstIds('Leads', 300).includes(id))).toEqual([true, true, false]);
  });

  test('of a silent edit does not come, though the log of changes has it', async () => {
    await subscribe();
    crm.crm.massEdit('Leads', [lead(0)], { Company: 'Quiet' }, { isSilent: true });
    expect(await received()).toEqual([]);
    const log = (await crm.get('/__simulator/traffic/edits')).body as unknown as { id: string; sentAtMs: number | null }[];
    expect(log.at(-1)).toMatchObject({ id: lead(0), sentAtMs: null });
  });

  test('of a deletion has Record_Status__s 0, a number, and token null where none was set', async () => {
    await subscribe({ token: undefined, return_affected_field_values: true });
    const id = lead(0);
    crm.crm.deleteRecord('Leads', id);
    const [{ operation, token, affected_values: values, affected_fields: fields } = {}] = await received();
    expect({ operation, token, values, fields }).toMatchObject({
      operation: 'delete',
      token: null,
      values: [{ record_id: id, values: { Record_Status__s: 0, Modified_By: { name: 'Integration User' } } }],
      fields: [{ [id]: ['Modified_By', 'Record_Status__s'] }],
    });
  });

  test('carries up to a hundred ids of one mass edit', async () => {
    await subscribe();
    const ids = crm.crm.firstIds('Leads', 250);
    crm.crm.massEdit('Leads', ids, { Rating: 'Active' });
    const notifications = await received();
    expect(notifications.map((one) => one['ids'].length as number).toSorted((a, b) => a - b)).toEqual([50, 100, 100]);
    expect(notifications.flatMap((one) => one['ids'] as string[]).toSorted()).toEqual(ids);
  });
});

describe('no notification is sent', () => {
  test('of other modules and operations', async () => {
    await subscribe({ events: ['Leads.create'] });
    crm.crm.editRecord('Leads', lead(0), { Company: 'X' });
    crm.crm.createRecord('Deals', { Deal_Name: 'X' });
    expect(await received()).toEqual([]);
  });

  test('of an edit whose fields the condition does not name', async () => {
    const group = [{ field: { api_name: 'Company' } }, { field: { api_name: 'Email' } }];
    await subscribe({ notification_condition: [{ type: 'field_selection', module: { api_name: 'Leads' }, field_selection: { group_operator: 'or', group } }] });
    crm.crm.editRecord('Leads', lead(0), { City: 'Paris' });
    crm.crm.editRecord('Leads', lead(1), { Email: 'a@b.example' });
    expect((await received()).map((one) => one['ids'] as string[])).toEqual([[lead(1)]]);
  });

  test('once the channel has run out, silently, or was disabled', async () => {
    await subscribe();
    await clock.advance(3_600_000);
    crm.crm.editRecord('Leads', lead(0), { Company: 'X' });
    expect(await received()).toEqual([]);
  });
});

test('a receiver that is down gets no second attempt', async () => {
  await subscribe({ notify_url: 'http://127.0.0.1:9/nobody' });
  const before = crm.crm.counters().notifications;
  crm.crm.editRecord('Leads', lead(0), { Company: 'X' });
  await received();
  const { sent, failed } = crm.crm.counters().notifications;
  expect([sent - before.sent, failed - before.failed]).toEqual([1, 1]);
});
