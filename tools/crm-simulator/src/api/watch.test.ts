import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';

import { drivenClock } from '../clock.ts';
import { type CrmUnderTest, type Json, type Reply, startCrm } from '../crm-under-test.ts';

const HOUR_MS = 3_600_000;
const now = Date.UTC(2026, 0, 1);
const clock = drivenClock(now);
const path = '/crm/v8/actions/watch';
let crm: CrmUnderTest;

beforeAll(async () => {
  crm = await startCrm({ clock, utcOffset: '-07:00' });
});
afterAll(() => crm.close());
afterEach(async () => {
  await crm.send('DELETE', `${path}?channel_ids=77,78`);
});

const channel = (more: Json = {}): Json => ({ channel_id: '77', events: ['Leads.all'], notify_url: 'http://127.0.0.1:9/n', ...more });
const send = (method: string, ...watch: Json[]): Promise<Reply> => crm.send(method, path, { watch });
const entriesOf = ({ body }: Reply): Json[] => body['watch'][0].details.events as Json[];
const inHours = (hours: number): string => new Date(clock.nowMs() + hours * HOUR_MS).toISOString().replace('.000Z', '+00:00');
const granted = async (channelExpiry?: string, version = 'v8'): Promise<number> => {
  const reply = await crm.send('POST', `/crm/${version}/actions/watch`, { watch: [channel(channelExpiry === undefined ? {} : { channel_expiry: channelExpiry })] });
  return (Date.parse(entriesOf(reply)[0]?.['channel_expiry'] as string) - clock.nowMs()) / HOUR_MS;
};

describe('the end of a channel', () => {
  test.each([['absent', undefined, 1], ['too far', 7 * 24 + 1, 1], ['past', -1, 1], ['six days off', 144, 144], ['two minutes off', 1 / 30, 1 / 30]])(
    'requested as %s is granted so', async (_, hours, expected) => {
      expect(await granted(hours === undefined ? undefined : inHours(hours))).toBeCloseTo(expected, 5);
    });

  test('is at most a day off on v6, a week on v7', async () => {
    expect([await granted(inHours(24), 'v6'), await granted(inHours(25), 'v6'), await granted(inHours(168), 'v7')]).toEqual([24, 1, 168]);
  });

  test('is given in the user\'s zone, not the caller\'s', async () => {
    const [entry] = entriesOf(await send('POST', channel({ channel_expiry: inHours(2) })));
    expect(entry?.['channel_expiry']).toBe('2025-12-31T19:00:00-07:00');
  });

  test('is one hour off whatever was requested, while that fault is on', async () => {
    crm.crm.setFaults({ shortExpiry: true });
    expect(await granted(inHours(144))).toBeCloseTo(1, 5);
    crm.crm.setFaults({ shortExpiry: false });
    expect(await granted(inHours(144))).toBeCloseTo(144, 5);
  });

  test('comes silently: the channel is unknown from then on', async () => {
    await send('POST', channel());
    await clock.advance(HOUR_MS);
    expect((await crm.get(path)).status).toBe(204);
    expect((await send('PATCH', channel())).body['watch'][0].code).toBe('NOT_SUBSCRIBED');
  });

  test('is moved by subscribing again, or by PATCH', async () => {
    await send('POST', channel());
    await clock.advance(HOUR_MS / 2);
    await send('POST', channel());
    await clock.advance(HOUR_MS / 2);
    await send('PATCH', { channel_id: '77', notify_url: 'http://127.0.0.1:9/n', channel_expiry: inHours(5) });
    await clock.advance(2 * HOUR_MS);
    expect((await crm.get(path)).body['watch']).toHaveLength(1);
  });
});

describe('replies', () => {
  test('have one entry per module, with the module\'s id', async () => {
    const reply = await send('POST', channel({ events: ['Leads.create', 'Deals.edit', 'Leads.delete'] }));
    const ids = (await crm.get('/crm/v8/settings/modules')).body['modules'].map(({ id }: Json) => id as string);
    expect(reply.status).toBe(201);
    expect(entriesOf(reply).map((entry) => [entry['resource_name'], entry['resource_id'], entry['channel_id']])).toEqual([['Leads', ids[0], '77'], ['Deals', ids[1], '77']]);
  });

  test('list `.all` as its three parts, and what was requested', async () => {
    await send('POST', channel({ token: 't', return_affected_field_values: true }));
    expect((await crm.get(path)).body['watch']).toMatchObject([
      { events: ['Leads.create', 'Leads.edit', 'Leads.delete'], token: 't', return_affected_field_values: true, notify_on_related_action: true, fields: null },
    ]);
  });

  test('are 207 for some, 400 for none', async () => {
    const mixed = await send('POST', channel(), channel({ channel_id: undefined }));
    expect([mixed.status, mixed.body['watch'].map(({ code }: Json) => code as string)]).toEqual([207, ['SUCCESS', 'MANDATORY_NOT_FOUND']]);
    expect(mixed.body['watch'][1].details).toEqual({ api_name: 'channel_id', json_path: '$.watch[1].channel_id' });
    expect((await send('POST', channel({ events: ['Notes.all'] }))).status).toBe(400);
  });

  test('keep channel ids above 2^53 and below zero, sent as numbers too', async () => {
    const url = crm.crm.url + path;
    const authorization = `Zoho-oauthtoken ${(await crm.token()).body['access_token']}`;
    for (const id of ['1105420521999070702', '-9223372036854775807']) {
      const reply = await fetch(url, { method: 'POST', headers: { authorization }, body: JSON.stringify({ watch: [channel()] }).replace('"77"', id) });
      expect(((await reply.json()) as Json)['watch'][0].details.events[0].channel_id).toBe(id);
      await crm.send('DELETE', `${path}?channel_ids=${id}`);
    }
  });
});

describe('requests', () => {
  test.each([
    ['a token above fifty characters', { token: 'x'.repeat(51) }, 'INVALID_DATA'],
    ['no notify_url', { notify_url: undefined }, 'MANDATORY_NOT_FOUND'],
    ['no events', { events: undefined }, 'MANDATORY_NOT_FOUND'],
    ['a module that cannot be watched', { events: ['Notes.all'] }, 'INVALID_DATA'],
    ['an unknown operator', { notification_condition: [{ type: 'field_selection', module: { api_name: 'Leads' }, field_selection: { group_operator: 'xor', group: [] } }] }, 'INVALID_DATA'],
  ])('with %s are refused', async (_, wrong, code) => {
    expect((await send('POST', channel(wrong))).body['watch'][0].code).toBe(code);
  });

  test('PUT drops what it does not name, PATCH keeps it, and `_delete_events` takes events off', async () => {
    await send('POST', channel({ token: 't', return_affected_field_values: true }));
    await send('PATCH', { channel_id: '77', notify_url: 'http://127.0.0.1:9/other' });
    expect((await crm.get(path)).body['watch'][0]).toMatchObject({ token: 't', notify_url: 'http://127.0.0.1:9/other' });
    expect(entriesOf(await send('PATCH', channel({ events: ['Leads.delete'], _delete_events: true })))[0]).not.toHaveProperty('channel_expiry');
    expect((await crm.get(path)).body['watch'][0].events).toEqual(['Leads.create', 'Leads.edit']);
    await send('PUT', channel());
    expect((await crm.get(path)).body['watch'][0]).toMatchObject({ token: null, return_affected_field_values: false });
  });

  test('to disable answer once a module, NOT_SUBSCRIBED for an unknown channel, and need channel_ids', async () => {
    await send('POST', channel({ events: ['Leads.all', 'Deals.all'] }));
    const reply = await crm.send('DELETE', `${path}?channel_ids=77,123`);
    expect([reply.status, reply.body['watch'].map(({ code }: Json) => code as string)]).toEqual([207, ['SUCCESS', 'SUCCESS', 'NOT_SUBSCRIBED']]);
    expect((await crm.send('DELETE', path)).body['code']).toBe('EXPECTED_PARAM_MISSING');
  });
});
