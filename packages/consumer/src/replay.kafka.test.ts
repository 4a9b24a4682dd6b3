import { partitionOf } from '@lockstep/kafka';
import { deals } from '@lockstep/modules';
import { afterEach, beforeEach, expect, test } from 'vitest';

import type { ConsumedChange, ConsumerDefinition } from './definition.ts';
import { replay, type ReplayFrom } from './replay.ts';
import type { Delivery } from './outbox.ts';
import { ConsumerFixture, idOf, type TestConsumer } from './testing.ts';

const NAME = 'replayed';
let fixture: ConsumerFixture;
let sent: Delivery[];
let applied: ConsumedChange[];
beforeEach(async () => {
  fixture = await ConsumerFixture.open(deals);
  [sent, applied] = [[], []];
});
afterEach(() => fixture.close());

const definition: ConsumerDefinition = { name: NAME, modules: [deals], apply: async ({ changes }) => void applied.push(...changes), deliveryOf: ({ kind, before, after }) => ({ kind, before: before?.['Stage'], after: after?.['Stage'] }) };
const start = (): Promise<TestConsumer> => fixture.start({ definition, delivering: { send: async (delivery) => void sent.push(delivery) } });
const stage = (n: number, name: string, modified = 0) => fixture.seen(n, { Stage: name }, { modified });
const back = (from: ReplayFrom) => replay({ pool: fixture.pool, admin: fixture.admin }, NAME, from);
const messages = (n: number): unknown[] => sent.filter(({ id }) => id === idOf(n)).map(({ body }) => JSON.parse(body) as unknown);

/** Consumes until everything is delivered, and stops. */
async function consume(): Promise<void> {
  const running = await start();
  await fixture.delivered(NAME);
  await running.stop();
}

const created = (after: string) => ({ kind: 'created', after });
const changed = (before: string, after: string) => ({ kind: 'changed', before, after });

test('from the beginning everything is handed over again, with the same keys, and what could not be read is found again', async () => {
  await fixture.publish([stage(1, 'A'), { id: idOf(2), value: 'no event' }, stage(1, 'B', 100), stage(2, 'A')]);
  await consume();
  const [keys, state] = [sent.map(({ idempotencyKey }) => idempotencyKey), await fixture.sql('select * from consumer_replayed.newest order by record_id').then(JSON.stringify)];
  sent = [];
  expect((await back({ kind: 'beginning' })).map(({ effectsFrom }) => effectsFrom)).toEqual([0, 0]);
  expect(await fixture.sql('select from consumer_replayed.newest')).toEqual([]);
  await consume();
  expect(sent.map(({ idempotencyKey }) => idempotencyKey).toSorted()).toEqual(keys.toSorted());
  expect(messages(1)).toEqual([created('A'), changed('A', 'B')]);
  expect(await fixture.sql('select * from consumer_replayed.newest order by record_id').then(JSON.stringify)).toBe(state);
  expect(await fixture.sql('select code from consumer_replayed.parked')).toEqual([{ code: 'EVENT_MALFORMED' }]);
});

test('from an offset on, what lies before is known and has no effects', async () => {
  await fixture.publish([stage(1, 'A'), stage(1, 'B', 100), stage(1, 'C', 200)]);
  await consume();
  [sent, applied] = [[], []];
  // The coverage is the first message of each partition.
  const partition = (await fixture.admin.topicOffsets(fixture.topic.name)).find(({ high }) => high === 4)?.partition as number;
  await back({ kind: 'offsets', offsets: new Map([[partition, 3]]) });
  await consume();
  expect(messages(1)).toEqual([changed('B', 'C')]);
  expect(applied.map(({ after }) => after?.['Stage'])).toEqual(['C']);
});

test('from a time on, what was appended before has no effects', async () => {
  await fixture.publish([stage(1, 'A'), stage(1, 'B', 100)]);
  await consume();
  const ms = Date.now() + 1;
  while (Date.now() <= ms) await new Promise((resolve) => void setTimeout(resolve, 1));
  await fixture.publish([stage(1, 'C', 200), stage(2, 'A')]);
  await consume();
  sent = [];
  await back({ kind: 'time', ms });
  await consume();
  expect([messages(1), messages(2)]).toEqual([[changed('B', 'C')], [created('A')]]);
});

test('of a partition that is not named nothing is handed over again, also while a replay before has not come to where its effects begin', async () => {
  await fixture.publish(Array.from({ length: 8 }, (_, n) => stage(n, 'A')));
  await consume();
  sent = [];
  await back({ kind: 'time', ms: Date.now() + 60_000 });
  await back({ kind: 'offsets', offsets: new Map([[0, 0]]) });
  await consume();
  expect(new Set(sent.map(({ id }) => partitionOf(id, 2)))).toEqual(new Set([0]));
});

test('deliveries that wait and are not made again are not lost', async () => {
  await fixture.publish([stage(1, 'A')]);
  const refusing = await fixture.start({ definition, delivering: { send: () => Promise.reject(new Error('refused')) } });
  await fixture.caughtUp(NAME);
  await refusing.stop();
  await fixture.sql('update consumer_replayed.outbox set next_try_at = now()');
  await back({ kind: 'offsets', offsets: new Map() });
  await consume();
  expect(messages(1)).toEqual([created('A')]);
});

test('is refused while an instance runs, and changes nothing', async () => {
  const running = await start();
  await fixture.publish([stage(1, 'A')]);
  await fixture.delivered(NAME);
  await expect(back({ kind: 'beginning' })).rejects.toMatchObject({ code: 'CONSUMER_RUNNING', message: expect.stringMatching(/Stop every instance/) as unknown });
  expect(await fixture.sql('select from consumer_replayed.newest')).toHaveLength(1);
  await running.stop();
  await back({ kind: 'beginning' });
});

test('is refused for a consumer that never ran, and behind the end of the log', async () => {
  await expect(back({ kind: 'beginning' })).rejects.toMatchObject({ code: 'CONSUMER_UNKNOWN' });
  await consume();
  await expect(replay({ pool: fixture.pool, admin: fixture.admin }, 'other', { kind: 'beginning' })).rejects.toThrow(/there are replayed/);
  await expect(back({ kind: 'offset', offset: 1000 })).rejects.toMatchObject({ code: 'POSITION_INVALID' });
  await expect(back({ kind: 'offsets', offsets: new Map([[9, 0]]) })).rejects.toThrow(/has no partition 9; it has 2/);
});

test('after the topic was created again, from the beginning is the way on', async () => {
  await fixture.publish([stage(1, 'A')]);
  await consume();
  await fixture.sql(`update consumer_replayed.position set topic_id = 'another'`);
  await fixture.sql(`update consumer_replayed.outbox set topic_id = 'another'`);
  await expect(back({ kind: 'offset', offset: 0 })).rejects.toMatchObject({ code: 'TOPIC_RECREATED' });
  await back({ kind: 'beginning' });
  sent = [];
  await consume();
  expect(messages(1)).toEqual([created('A')]);
});
