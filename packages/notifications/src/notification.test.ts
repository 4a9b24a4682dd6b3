import { describe, expect, test } from 'vitest';

import { channelIdOf, channelToken, isChannelToken, isPathSecret, pathSecret } from './authenticity.ts';
import { decodeHint, encodeHint, hintsOf } from './hint.ts';
import { parseNotification } from './notification.ts';

const body = (changes: object = {}): string =>
  JSON.stringify({
    server_time: 1_718_117_126_473,
    query_params: {},
    module: 'Leads',
    resource_uri: 'https://www.zohoapis.com/crm/v2/Leads',
    ids: ['5725767000003000064', '5725767000003000065'],
    affected_fields: [],
    operation: 'insert',
    channel_id: '1000000068001',
    token: 'T',
    ...changes,
  });

describe('parseNotification', () => {
  test('reads what the CRM sends', () => {
    expect(parseNotification(body())).toEqual({
      module: 'Leads',
      ids: ['5725767000003000064', '5725767000003000065'],
      impossibleIds: 0,
      operation: 'insert',
      channelId: '1000000068001',
      token: 'T',
      serverTimeMs: 1_718_117_126_473,
    });
  });

  test('takes the older forms: no server time, no token, a number as channel, create and edit as operations', () => {
    expect(parseNotification(body({ server_time: undefined, token: null, channel_id: 7, operation: 'edit' }))).toMatchObject({
      serverTimeMs: null,
      token: '',
      channelId: '7',
      operation: 'update',
    });
  });

  test.each([
    ['no JSON', '{'],
    ['no ids', body({ ids: [] })],
    ['more ids than any callback has', body({ ids: Array.from({ length: 10_001 }, () => '1') })],
    ['an unknown operation', body({ operation: 'explode' })],
    ['a module that is no name', body({ module: '../Leads' })],
    ['an array', '[]'],
  ])('refuses %s', (_, text) => expect(() => parseNotification(text)).toThrow(expect.objectContaining({ code: 'NOTIFICATION_MALFORMED' })));
});

test.each(["1' or '1'='1", '12345678901234567890', '9223372036854775808', '007', '0', '', 5725767000003000000, null])('%j can be no record: the ids beside it are taken', (id) => {
  expect(parseNotification(body({ ids: [id, '9223372036854775807'] }))).toMatchObject({ ids: ['9223372036854775807'], impossibleIds: 1 });
  expect(parseNotification(body({ ids: [id] }))).toMatchObject({ ids: [], impossibleIds: 1 });
});

describe('hints', () => {
  test('there is one for each record, duplicates in one notification folded', () => {
    const hints = hintsOf(parseNotification(body({ ids: ['1', '2', '1'] })), 5);
    expect(hints.map((hint) => hint.id)).toEqual(['1', '2']);
    expect(hints.map((hint) => decodeHint(encodeHint(hint)))).toEqual(hints);
  });

  test('a message that is no hint is refused', () => {
    const hint = { module: 'Leads', id: '9223372036854775808', operation: 'update', channelId: '1', serverTimeMs: null, receivedMs: 0 } as const;
    for (const text of ['{"v":1}', encodeHint(hint)]) expect(() => decodeHint(text)).toThrow(expect.objectContaining({ code: 'NOTIFICATION_MALFORMED' }));
  });
});

describe('authenticity', () => {
  test('a token belongs to one secret and one channel, and fits the CRM', () => {
    const token = channelToken('secret', '42');
    expect(token.length).toBeLessThanOrEqual(50);
    expect(isChannelToken('secret', '42', token)).toBe(true);
    expect(isChannelToken('secret', '43', token)).toBe(false);
    expect(isChannelToken('other', '42', token)).toBe(false);
    expect(isChannelToken('secret', '42', '')).toBe(false);
  });

  test('the path has a secret of its own', () => {
    expect(isPathSecret('secret', pathSecret('secret'))).toBe(true);
    expect(isPathSecret('secret', pathSecret('other'))).toBe(false);
  });

  test('a module keeps its channel id, and no two share one', () => {
    expect(channelIdOf('secret', 'Leads')).toBe(channelIdOf('secret', 'Leads'));
    expect(channelIdOf('secret', 'Leads')).not.toBe(channelIdOf('secret', 'Deals'));
    expect(channelIdOf('secret', 'Leads')).toMatch(/^[1-9]\d{0,17}$/);
  });
});
