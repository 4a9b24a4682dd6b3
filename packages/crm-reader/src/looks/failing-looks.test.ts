import { createCrmClient, createTokenSource, type CrmClient, CrmError, loadCrmConfig, type Look, memoryTokenStore } from '@lockstep/crm-client';
import { type Simulator, startSimulator } from '@lockstep/crm-simulator';
import { deals, leads, modules, topicOf } from '@lockstep/modules';
import { encodeHint, type Hint } from '@lockstep/notifications';
import { createLogger, createMetrics } from '@lockstep/telemetry';
import { afterAll, beforeAll, beforeEach, afterEach, describe, expect, test } from 'vitest';

import type { DeadLetter } from '../dead-letters.ts';
import { createReaderMetrics } from '../metrics.ts';
import { asideInMemory } from '../testing.ts';
import { HintAnswerer } from './hint-answerer.ts';

const log = createLogger({ app: 'test', level: 'silent', isPretty: false });
const LEADS = 300;

let simulator: Simulator;
let client: CrmClient;
let stopping: AbortController;
let aside: ReturnType<typeof asideInMemory>;
let letters: DeadLetter[];
/** Ids of the events of each topic. */
let published: Map<string, string[]>;
/** Ids of each look that was asked for, and what it fails with. */
let looks: string[][];
let fault: (module: string, ids: readonly string[]) => CrmError | null;
/** What stands in the reply instead of what the CRM gave. */
let shown: (look: Look) => Look;
/** A record that no message of the log has room for. */
let tooLarge: string;
let answerer: HintAnswerer;

beforeAll(async () => {
  simulator = await startSimulator({ records: { Leads: LEADS, Deals: 20, Products: 0 }, tokensPerTenMinutes: 0 });
  const config = loadCrmConfig({ CRM_API_URL: simulator.url, CRM_ACCOUNTS_URL: simulator.url, CRM_CLIENT_ID: 'simulator', CRM_CLIENT_SECRET: 'simulator', CRM_REFRESH_TOKEN: 'simulator' });
  client = createCrmClient({ config, tokens: createTokenSource({ config, store: memoryTokenStore() }), retries: 0 });
});
afterAll(async () => {
  await client.close();
  await simulator.close();
});

beforeEach(() => {
  stopping = new AbortController();
  [aside, letters, published, looks] = [asideInMemory(), [], new Map(), []];
  fault = () => null;
  shown = (look) => look;
  tooLarge = '';
  answerer = new HintAnswerer({
    modules,
    crm: {
      rules: client.rules,
      time: () => client.time(),
      deletedSince: (module, since) => client.deletedSince(module, since),
      lookAt: async (options) => {
        looks.push([...options.ids]);
        const error = fault(options.module, options.ids);
        if (error !== null) throw error;
        return shown(await client.lookAt(options));
      },
    },
    aside,
    deadLetters: { put: async (more) => void letters.push(...more) },
    producer: {
      send: async (topic, messages) => {
        const keys = [...messages].map(({ key }) => String(key));
        // As kafkajs says it.
        if (keys.includes(tooLarge)) throw Object.assign(new Error('too large'), { cause: { type: 'MESSAGE_TOO_LARGE' } });
        published.set(topic, [...(published.get(topic) ?? []), ...keys]);
      },
    },
    register: { known: async () => new Map(), hidden: async () => undefined, parked: async () => new Map() },
    breaker: { admits: async () => true },
    referrers: { to: async () => [] },
    looks: { want: async () => undefined },
    metrics: createReaderMetrics(createMetrics({ app: 'test' })),
    log,
    epsilonMs: 60_000,
    lookIntervalMs: 0,
    signal: stopping.signal,
  });
});
afterEach(async () => {
  stopping.abort();
  await answerer.closed();
});

let offset = 0;
const hintsOf = (module: string, ids: readonly string[]) =>
  ids.map((id) => ({ offset: offset++, key: Buffer.from(id), value: Buffer.from(encodeHint({ module, id, operation: 'update', channelId: '1', serverTimeMs: null, receivedMs: 0 } satisfies Hint)), headers: {}, timestampMs: 0 }));
const take = (module: string, ids: readonly string[]): Promise<void> => answerer.take({ partition: 0, from: offset, messages: hintsOf(module, ids) as never, following: offset });
const refused = (code: ConstructorParameters<typeof CrmError>[1] = 'CRM_REFUSED') => new CrmError('the record makes the query fail', code);
/** Settles once it holds; each step is an effect of the loops, not a time. */
const until = async (holds: () => boolean): Promise<void> => {
  while (!holds()) await new Promise((resolve) => void setImmediate(resolve));
};
const seen = (module = leads): Set<string> => new Set(published.get(topicOf(module)) ?? []);

describe('a record that makes every look at it fail', () => {
  test('is found, kept aside with its cause, and all others of its query are answered', async () => {
    const ids = simulator.firstIds('Leads', 100);
    const [poison = ''] = ids.slice(37);
    fault = (_, asked) => (asked.includes(poison) ? refused() : null);
    await take('Leads', ids);
    await until(() => answerer.waiting === 0 && aside.kept.size === 1 && seen().size >= 99);
    expect(aside.kept.get(`Leads/${poison}`)).toEqual({ id: poison, code: 'CRM_REFUSED', cause: 'the record makes the query fail' });
    expect([seen().size, seen().has(poison)]).toEqual([99, false]);
    expect(letters).toMatchObject([{ source: 'look', key: poison, code: 'CRM_REFUSED' }]);
    await until(() => answerer.committable[0]?.offset === offset);
    // Two that begin at once with what has come, the whole, one that shows that looks succeed, and two for each halving.
    expect(looks.length).toBeLessThanOrEqual(2 + 2 + 2 * 7);
  });

  test('is not asked about with others again: its further hints wait in the database', async () => {
    const [poison = '', other = ''] = simulator.firstIds('Leads', 2);
    fault = (_, asked) => (asked.includes(poison) ? refused() : null);
    await take('Leads', [poison, other]);
    await until(() => aside.kept.size === 1);
    looks = [];
    await take('Leads', [poison, other]);
    await until(() => looks.length > 0);
    expect([looks, aside.waiting]).toEqual([[[other]], [`Leads/${poison}`]]);
  });

  test('is read again once it is due and can be read, and forgotten', async () => {
    const [poison = ''] = simulator.firstIds('Leads', 1);
    await aside.keep('Leads', [{ id: poison, code: 'CRM_REFUSED', cause: 'it did' }]);
    aside.take = async (module) => (module === 'Leads' ? [{ id: poison, code: 'CRM_REFUSED' }] : []);
    await answerer.askAgain();
    await until(() => aside.kept.size === 0);
    expect(seen()).toEqual(new Set([poison]));
  });
});

describe('an error of the CRM\'s server at one record', () => {
  const [ids, others] = [() => simulator.firstIds('Leads', 100), () => simulator.firstIds('Leads', 120).slice(100)];

  test('makes no other wait: those of its look and later ones are answered before the record is looked at again', async () => {
    const [poison = ''] = ids().slice(37);
    fault = (_, asked) => (asked.includes(poison) ? refused('CRM_UNAVAILABLE') : null);
    await take('Leads', ids());
    await until(() => seen().size >= 99);
    await take('Leads', others());
    await until(() => seen().size >= 119);
    expect([aside.kept.size, answerer.waiting]).toEqual([0, 1]);
    await until(() => aside.kept.size === 1);
    expect(looks.filter((asked) => asked.length === 1 && asked[0] === poison)).toHaveLength(2);
    await until(() => answerer.committable[0]?.offset === offset);
  });

  test('that passes keeps nothing aside', async () => {
    const [unlucky = ''] = ids().slice(37);
    let isOver = false;
    fault = (_, asked) => {
      if (isOver || !asked.includes(unlucky)) return null;
      isOver = asked.length === 1;
      return refused('CRM_UNAVAILABLE');
    };
    await take('Leads', ids());
    await until(() => answerer.waiting === 0 && seen().has(unlucky));
    expect([aside.kept.size, letters.length, seen().size]).toEqual([0, 0, 100]);
  });
});

describe('a record that was found and cannot be written down', () => {
  test('as its row is none: it is kept aside, and the others of the reply are taken', async () => {
    const ids = simulator.firstIds('Leads', 100);
    const [bad = ''] = ids.slice(20);
    shown = (look) => ({ ...look, records: look.records.filter(({ id }) => id !== bad), refused: look.records.some(({ id }) => id === bad) ? [{ id: bad, code: 'MODIFIED_TIME_MALFORMED', cause: 'Modified_Time is no time' }] : [] });
    await take('Leads', ids);
    await until(() => answerer.waiting === 0 && aside.kept.size === 1 && seen().size === 99);
    expect([letters, seen().has(bad)]).toMatchObject([[{ key: bad, code: 'MODIFIED_TIME_MALFORMED' }], false]);
  });

  test('as its row has no id: alone it is known which it is', async () => {
    const ids = simulator.firstIds('Leads', 100);
    const [bad = ''] = ids.slice(20);
    shown = (look) => ({ ...look, records: look.records.filter(({ id }) => id !== bad), refused: look.records.some(({ id }) => id === bad) ? [{ id: null, code: 'RECORD_ID_MALFORMED', cause: 'the row has no id' }] : [] });
    await take('Leads', ids);
    await until(() => answerer.waiting === 0 && aside.kept.size === 1 && seen().size === 99);
    expect([...aside.kept.keys()]).toEqual([`Leads/${bad}`]);
  });

  test('as no message of the log has room for it: the others are', async () => {
    const ids = simulator.firstIds('Leads', 100);
    tooLarge = ids[50] as string;
    await take('Leads', ids);
    await until(() => answerer.waiting === 0 && aside.kept.size === 1 && seen().size === 99);
    expect([letters, seen().has(tooLarge)]).toMatchObject([[{ key: tooLarge, code: 'RECORD_TOO_LARGE' }], false]);
  });
});

describe('a fault of the whole module', () => {
  test.each(['CRM_UNAUTHORIZED', 'CRM_REFUSED', 'CRM_REPLY_UNEXPECTED', 'CRM_UNAVAILABLE', 'CRM_RATE_LIMITED'] as const)('(%s) blames no record', async (code) => {
    let calls = 0;
    fault = (module, ids) => (module === 'Leads' && (code !== 'CRM_REPLY_UNEXPECTED' || ids[0] !== '1') ? ((calls += 1), refused(code)) : null);
    await take('Leads', simulator.firstIds('Leads', 100));
    await until(() => calls > 1 || looks.length > 0);
    await take('Deals', simulator.firstIds('Deals', 20));
    await until(() => seen(deals).size === 20);
    expect([aside.kept.size, letters.length, answerer.waiting]).toEqual([0, 0, 100]);
  });

  test('does not hold up another one, however many of its hints wait', async () => {
    fault = (module) => (module === 'Leads' ? refused('CRM_UNAUTHORIZED') : null);
    const invented = Array.from({ length: 12_000 }, (_, at) => String(7_000_000_000_000_000_000n + BigInt(at)));
    await take('Leads', invented);
    await take('Deals', simulator.firstIds('Deals', 20));
    await until(() => seen(deals).size === 20);
    // Two looks may have begun before the others came.
    expect([answerer.waiting + aside.waiting.length, answerer.waiting <= 5_002]).toEqual([12_000, true]);
  });
});

test('ten thousand stored hints of ids that can be no record are kept aside with one message each, in one step', async () => {
  const before = offset;
  let steps = 0;
  const messages = Array.from({ length: 10_000 }, () => ({ offset: offset++, key: Buffer.from('9223372036854775808'), value: Buffer.from('{"v":1,"module":"Leads","id":"9223372036854775808","operation":"update","channelId":"1","serverTimeMs":null,"receivedMs":0}') }));
  const put = letters.push.bind(letters);
  letters.push = (...more) => ((steps += 1), put(...more));
  await answerer.take({ partition: 0, from: before, messages: messages as never, following: offset });
  expect([letters.length, steps, looks]).toEqual([10_000, 1, []]);
  expect(answerer.committable).toEqual([{ topic: 'crm.notifications', partition: 0, offset: before + 10_000 }]);
});
