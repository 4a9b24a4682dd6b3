import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';

import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';

import { loadCrmConfig } from './config.ts';
import { dataCentreOf } from './data-centres.ts';
import { handTime } from './testing.ts';
import { createTokenSource, memoryTokenStore } from './tokens.ts';

let server: Server;
let url: string;
let asked = 0;
let answer: { status?: number; body: unknown };
beforeAll(async () => {
  server = createServer((_, reply) => {
    asked += 1;
    reply.writeHead(answer.status ?? 200).end(typeof answer.body === 'string' ? answer.body : JSON.stringify(answer.body));
  });
  await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve));
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});
afterAll(() => void server.close());
beforeEach(() => {
  asked = 0;
});

const given = { access_token: 'a token', expires_in: 3600 };
const configOf = (env: NodeJS.ProcessEnv = {}) => loadCrmConfig({ CRM_ACCOUNTS_URL: url, CRM_CLIENT_ID: 'x', CRM_CLIENT_SECRET: 'x', CRM_REFRESH_TOKEN: 'x', ...env });
const sourceOf = (env: NodeJS.ProcessEnv = {}, options: { store?: ReturnType<typeof memoryTokenStore>; time?: ReturnType<typeof handTime> } = {}) => createTokenSource({ config: configOf(env), store: memoryTokenStore(options.time), ...options });

describe('the data centre of a token', () => {
  test.each([
    ['its API', 'https://www.zohoapis.eu', {}],
    ['a sandbox', 'https://sandbox.zohoapis.eu', {}],
    ['the developer edition', 'https://developer.zohoapis.eu', {}],
    ['the API that was configured', 'http://127.0.0.1:8090', { CRM_API_URL: 'http://127.0.0.1:8090/' }],
  ])('may be %s', async (_, apiDomain, env) => {
    answer = { body: { ...given, api_domain: apiDomain } };
    expect(await sourceOf({ CRM_DATA_CENTRE: 'eu', ...env }).get()).toBe('a token');
  });

  test('must be the configured one: the message says which to set', async () => {
    answer = { body: { ...given, api_domain: 'https://www.zohoapis.in' } };
    await expect(sourceOf({ CRM_DATA_CENTRE: 'eu' }).get()).rejects.toMatchObject({ code: 'CRM_WRONG_DATA_CENTRE', retryable: false, message: expect.stringMatching(/zohoapis\.in[^]*CRM_DATA_CENTRE=in/) });
  });

  test.each(['https://www.zohoapis.example', 'https://www.zohoapis.com.evil.example', 'http://www.zohoapis.com', 'nonsense'])('%s is none, and nothing is sent there', async (apiDomain) => {
    answer = { body: { ...given, api_domain: apiDomain } };
    await expect(sourceOf().get()).rejects.toMatchObject({ code: 'CRM_WRONG_DATA_CENTRE' });
    expect(dataCentreOf(apiDomain)).toBeUndefined();
  });

  test('of a token that another configuration left behind: a new one is requested', async () => {
    const store = memoryTokenStore();
    await store.exclusively(({ write }) => write({ token: 'of another', livesMs: 3_600_000, apiDomain: 'https://www.zohoapis.in' }));
    answer = { body: { ...given, api_domain: 'https://www.zohoapis.eu' } };
    expect(await sourceOf({ CRM_DATA_CENTRE: 'eu' }, { store }).get()).toBe('a token');
  });

  test('that contradicts the configured API is refused at start', () => {
    expect(() => configOf({ CRM_DATA_CENTRE: 'us', CRM_API_URL: 'https://sandbox.zohoapis.eu' })).toThrow(/CRM_API_URL is in the data centre eu/);
    expect(configOf({ CRM_DATA_CENTRE: 'eu', CRM_API_URL: 'https://sandbox.zohoapis.eu' }).apiUrl).toBe('https://sandbox.zohoapis.eu');
  });
});

describe('a refusal of the accounts server', () => {
  const throttled = { error: 'Access Denied', error_description: 'You have made too many requests continuously. Please try again after some time.', status: 'failure' };
  test.each([
    ['a wrong client, with status 200', { body: { error: 'invalid_client' } }, 'CRM_UNAUTHORIZED'],
    ['a revoked refresh token, with status 200', { body: { error: 'invalid_code' } }, 'CRM_UNAUTHORIZED'],
    ['too many tokens, with status 200', { body: throttled }, 'CRM_RATE_LIMITED'],
    ['too many tokens, with status 400', { status: 400, body: throttled }, 'CRM_RATE_LIMITED'],
    ['a page of HTML, with status 200', { body: '<html>Maintenance</html>' }, 'CRM_UNAVAILABLE'],
    ['a page of HTML, with status 400', { status: 400, body: '<html>invalid</html>' }, 'CRM_UNAVAILABLE'],
    ['an error of its own', { status: 500, body: {} }, 'CRM_UNAVAILABLE'],
  ])('%s', async (_, refused, code) => {
    answer = refused;
    await expect(sourceOf().get()).rejects.toMatchObject({ code });
  });
});

describe('the limit of ten tokens in ten minutes', () => {
  test('counts refusals too: after eight none is requested, and the reason is reported', async () => {
    const time = handTime();
    const source = sourceOf({}, { time });
    answer = { body: { error: 'invalid_code' } };
    for (let attempt = 0; attempt < 8; attempt += 1) await expect(source.get()).rejects.toMatchObject({ code: 'CRM_UNAUTHORIZED' });
    await expect(source.get()).rejects.toMatchObject({ code: 'CRM_RATE_LIMITED', message: expect.stringMatching(/8 times in ten minutes[^]*invalid_code/) });
    expect(asked).toBe(8);
    await time.advance(10 * 60_000);
    answer = { body: given };
    expect(await source.get()).toBe('a token');
  });
});

describe('the life of a token', () => {
  test.each([-3_600_000, 3_600_000])('is a span from its receipt: a wall clock set by %i ms changes nothing', async (stepMs) => {
    const time = handTime();
    const source = sourceOf({}, { time });
    answer = { body: given };
    await source.get();
    time.step(stepMs);
    await time.advance(54 * 60_000);
    await source.get();
    expect(asked).toBe(1);
    await time.advance(2 * 60_000);
    await source.get();
    expect(asked).toBe(2);
  });

  test('that is said to be longer than a day is a day', async () => {
    const time = handTime();
    const source = sourceOf({}, { time });
    answer = { body: { ...given, expires_in: 3_600_000 } };
    await source.get();
    await time.advance(24 * 3_600_000);
    await source.get();
    expect(asked).toBe(2);
  });

  test('that was requested later than now, before the clock of the store was set back, blocks no request', async () => {
    const store = memoryTokenStore();
    const setBack = { ...store, exclusively: <T>(work: Parameters<typeof store.exclusively<T>>[0]) => store.exclusively<T>((turn) => work({ ...turn, askedAgoMs: Array.from({ length: 10 }, () => -3_000_000) })) };
    answer = { body: given };
    expect(await sourceOf({}, { store: setBack }).get()).toBe('a token');
  });
});
