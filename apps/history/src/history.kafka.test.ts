import { at, ConsumerFixture, idOf, type LogEvent } from '@lockstep/consumer/testing';
import { deals, leads } from '@lockstep/modules';
import { coverage } from '@lockstep/record-log';
import { afterEach, beforeEach, expect, test } from 'vitest';

import { loadConfig } from './config.ts';
import { history } from './history.ts';
import { NAME } from './tables.ts';

let fixture: ConsumerFixture;
beforeEach(async () => {
  fixture = await ConsumerFixture.open(deals);
});
afterEach(() => fixture.close());

const start = () => fixture.start({ ...history({ consumer: fixture.config({ maxBatchMessages: 3 }), modules: [deals] }), config: fixture.config({ maxBatchMessages: 3 }) });
const stage = (n: number, name: string, modified: number, observed = modified) => fixture.seen(n, { Stage: name, Amount: `${modified}` }, { modified, observed });
const asOf = async (seconds: number, n = 1): Promise<unknown> => (await fixture.sql(`select lockstep.history('Deals', $1, $2) ->> 'Stage' as stage`, [idOf(n), at(seconds)]))[0]?.['stage'];
const rows = (n = 1): Promise<Record<string, unknown>[]> => fixture.sql(`select valid_from, valid_to, fields ->> 'Stage' as stage from lockstep_history.deals where record_id = $1 order by valid_from`, [idOf(n)]);

test('says what a record was at any time, and keeps one row for each time it was so', async () => {
  await fixture.publish([stage(1, 'Qualification', 0), stage(1, 'Closed Won', 200), fixture.deleted(1, 500)]);
  await start();
  await fixture.caughtUp(NAME);
  expect(await rows()).toEqual([{ valid_from: at(0), valid_to: at(200), stage: 'Qualification' }, { valid_from: at(200), valid_to: at(500.999), stage: 'Closed Won' }]);
  expect(await Promise.all([-1, 0, 199, 200, 499, 501].map((seconds) => asOf(seconds)))).toEqual([null, 'Qualification', 'Qualification', 'Closed Won', 'Closed Won', null]);
  expect(await asOf(100, 2)).toBe(null);
});

test('what jsonb cannot hold is given as what stands for it, and stays in the table as it is', async () => {
  const text = 'a\u0000b \\u0000 c\\\u0000';
  await fixture.publish([stage(1, text, 0)]);
  await start();
  await fixture.caughtUp(NAME);
  expect(await asOf(1)).toBe('a\uFFFDb \\u0000 c\\\uFFFD');
  expect(JSON.parse(String((await fixture.sql('select fields::text as fields from lockstep_history.deals'))[0]?.['fields']))).toMatchObject({ Stage: text });
});

test('an outdated version that comes later goes in between, where it belongs', async () => {
  await fixture.publish([stage(1, 'A', 0), stage(1, 'C', 200)]);
  await start();
  await fixture.caughtUp(NAME);
  await fixture.publish([stage(1, 'B', 100), stage(1, 'A', 0), stage(1, 'B', 100)]);
  await fixture.caughtUp(NAME);
  expect(await rows()).toEqual([{ valid_from: at(0), valid_to: at(100), stage: 'A' }, { valid_from: at(100), valid_to: at(200), stage: 'B' }, { valid_from: at(200), valid_to: null, stage: 'C' }]);
});

test('a deletion that is listed late ends the time before it, and what was confirmed after it begins another', async () => {
  const first = stage(1, 'A', 0);
  await fixture.publish([first, fixture.confirmed(1, first, { modified: 0, observed: 400 }), fixture.confirmed(1, first, { modified: 0, observed: 900 }), fixture.deleted(1, 100)]);
  await start();
  await fixture.caughtUp(NAME);
  expect(await rows()).toEqual([{ valid_from: at(0), valid_to: at(100.999), stage: 'A' }, { valid_from: at(900), valid_to: null, stage: 'A' }]);
});

test('the return of a record stays where it was first seen, however often it is confirmed later, and wherever the log is cut', async () => {
  const first = stage(1, 'A', 0);
  const looks = [900, 1_500, 2_000, 3_000].map((observed) => fixture.confirmed(1, first, { modified: 0, observed }));
  await fixture.publish([first, fixture.confirmed(1, first, { modified: 0, observed: 400 }), fixture.deleted(1, 100), ...looks, fixture.deleted(1, 1_700), fixture.confirmed(1, first, { modified: 0, observed: 9_000 })]);
  for (const maxBatchMessages of [1, 3, 100]) {
    const config = fixture.config({ maxBatchMessages });
    const running = await fixture.start({ ...history({ consumer: config, modules: [deals] }), config });
    await fixture.caughtUp(NAME);
    expect(await rows()).toEqual([
      { valid_from: at(0), valid_to: at(100.999), stage: 'A' },
      { valid_from: at(400), valid_to: at(1_700.999), stage: 'A' },
      { valid_from: at(3_000), valid_to: null, stage: 'A' },
    ]);
    await running.stop();
    await fixture.sql('drop schema consumer_history cascade');
    await fixture.sql('drop schema lockstep_history cascade');
  }
});

test('however the log is ordered and cut, the histories end the same, also after a replay over what stands', async () => {
  const small = coverage(['Stage']);
  await fixture.declare(small);
  const events = Array.from({ length: 60 }, (_, n): LogEvent => (n % 9 === 0 ? fixture.deleted(n % 5, n * 7) : n % 4 === 0 ? fixture.seen(n % 5, { Stage: `S${n % 3}` }, { modified: (n * 37) % 300, observed: n * 5 + 300, covered: small }) : stage(n % 5, `S${n % 3}`, (n * 53) % 300, n * 5 + 300)));
  await fixture.publish(events);
  const running = await start();
  await fixture.caughtUp(NAME);
  const all = () => fixture.sql('select * from lockstep_history.record order by module, record_id, valid_from').then(JSON.stringify);
  const before = await all();
  await running.stop();
  await fixture.sql('update consumer_history.position set next_offset = 0');
  await fixture.sql('truncate consumer_history.newest');
  await fixture.publish(events.toReversed());
  await start();
  await fixture.caughtUp(NAME);
  expect(await all()).toBe(before);
});

test('keeps the modules that are named, all by default', () => {
  const env = { KAFKA_BROKERS: 'b:1', DATABASE_URL: 'postgres://h/db' };
  expect(loadConfig({ ...env, HISTORY_MODULES: 'Leads' })).toMatchObject({ modules: [leads], consumer: { port: 8085 } });
  expect(loadConfig(env).modules).toHaveLength(3);
  expect(() => loadConfig({ ...env, HISTORY_MODULES: 'Lead' })).toThrow(/unknown module "Lead"/);
});
