import { partitionOf } from '@lockstep/kafka';
import { openTransaction, segmentFile, writeTransactions } from '@lockstep/local-stack';
import { deals } from '@lockstep/modules';
import { coverage } from '@lockstep/record-log';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';

import type { ConsumedBatch, ConsumerDefinition } from './definition.ts';
import { at, ConsumerFixture, idOf, type LogEvent, type TestConsumer } from './testing.ts';

let fixture: ConsumerFixture;
beforeEach(async () => {
  fixture = await ConsumerFixture.open(deals);
});
afterEach(() => fixture.close());

/** A consumer whose effect is a row for each change, with no constraint that would hide a second one. */
const recordingInto = (table: string): Omit<ConsumerDefinition, 'name'> => ({
  modules: [deals],
  prepare: async (transaction) => void (await transaction.query(`create table if not exists ${table} (seq int generated always as identity, key text, id text, kind text, stage_before text, stage_after text)`)),
  apply: async ({ changes }, transaction) => {
    for (const { idempotencyKey, id, kind, before, after } of changes) {
      await transaction.query(`insert into ${table} (key, id, kind, stage_before, stage_after) values ($1, $2, $3, $4, $5)`, [idempotencyKey, id, kind, before?.['Stage'], after?.['Stage']]);
    }
  },
});
const recording: ConsumerDefinition = { ...recordingInto('handed'), name: 'recording' };

const handed = (columns = 'kind, stage_before as before, stage_after as after', n = 1): Promise<Record<string, unknown>[]> => fixture.sql(`select ${columns} from handed where id = $1 order by seq`, [idOf(n)]);
const stage = (n: number, name: string | null, modified = 0, observed = modified): ReturnType<ConsumerFixture['seen']> => fixture.seen(n, { Stage: name, Deal_Name: `Deal ${n}` }, { modified, observed });

async function haltedBecause({ consumer }: TestConsumer): Promise<string> {
  for (;;) {
    try {
      consumer.check();
    } catch (error) {
      return (error as Error).message;
    }
    await new Promise((resolve) => void setTimeout(resolve, 20));
  }
}

describe('a consumer', () => {
  test('is handed each change of a record once, with what stood before and after', async () => {
    await fixture.publish([stage(1, 'Qualification'), stage(1, 'Closed Won', 100), fixture.deleted(1, 300)]);
    await fixture.start({ definition: recording });
    await fixture.caughtUp('recording');
    expect(await handed()).toEqual([
      { kind: 'created', before: null, after: 'Qualification' },
      { kind: 'changed', before: 'Qualification', after: 'Closed Won' },
      { kind: 'deleted', before: 'Closed Won', after: null },
    ]);
  });

  test('is handed nothing for duplicates, outdated rows and confirmations', async () => {
    const [old, won] = [stage(1, 'Qualification'), stage(1, 'Closed Won', 100)];
    await fixture.publish([old, old, won, old, won, stage(1, 'Negotiation/Review', 50), fixture.confirmed(1, won, { modified: 100, observed: 400 }), stage(1, 'Closed Won', 100, 500), old]);
    await fixture.start({ definition: recording });
    await fixture.caughtUp('recording');
    expect(await handed()).toEqual([{ kind: 'created', before: null, after: 'Qualification' }, { kind: 'changed', before: 'Qualification', after: 'Closed Won' }]);
  });

  test('is handed a deletion once, nothing of a record that it never knew, and its restoration only by a look that is clearly later', async () => {
    await fixture.publish([
      fixture.deleted(2, 10),
      stage(1, 'Qualification'), fixture.deleted(1, 100), fixture.deleted(1, 100), fixture.deleted(1, 90),
      stage(1, 'Qualification', 0, 130), stage(1, 'Closed Won', 0, 400),
    ]);
    await fixture.start({ definition: recording });
    await fixture.caughtUp('recording');
    expect(await handed()).toEqual([
      { kind: 'created', before: null, after: 'Qualification' },
      { kind: 'deleted', before: 'Qualification', after: null },
      { kind: 'restored', before: 'Qualification', after: 'Closed Won' },
    ]);
    expect(await handed('kind', 2)).toEqual([]);
  });

  test('knows the fields of a smaller coverage as a change of those, and the others as they stood', async () => {
    const small = coverage(['Stage']);
    await fixture.declare(small);
    const batches: ConsumedBatch[] = [];
    await fixture.publish([stage(1, 'Qualification'), fixture.seen(1, { Stage: 'Closed Won' }, { modified: 100, covered: small })]);
    await fixture.start({ definition: { name: 'small', modules: [deals], apply: async (batch) => void batches.push(batch) } });
    await fixture.caughtUp('small');
    expect(batches.flatMap(({ changes }) => changes).at(-1)).toMatchObject({ kind: 'changed', after: { Stage: 'Closed Won', Deal_Name: 'Deal 1' }, modifiedAt: at(100), deletedAt: null });
  });

  test('goes on where it stopped, and two share the partitions: a hand-over loses and repeats nothing', async () => {
    const all = Array.from({ length: 300 }, (_, n) => n);
    await fixture.publish(all.map((n) => stage(n, 'Qualification')));
    const first = await fixture.start({ definition: recording });
    await fixture.caughtUp('recording', 100);
    await fixture.start({ definition: recording });
    await fixture.publish(all.map((n) => stage(n, 'Closed Won', 100)));
    await fixture.caughtUp('recording', 350);
    await first.stop();
    await fixture.publish(all.map((n) => stage(n, 'Closed Lost', 200)));
    await fixture.caughtUp('recording');
    expect(await fixture.sql('select kind, stage_after, count(*)::int, count(distinct key)::int as keys from handed group by 1, 2 order by min(seq)')).toEqual([
      { kind: 'created', stage_after: 'Qualification', count: 300, keys: 300 },
      { kind: 'changed', stage_after: 'Closed Won', count: 300, keys: 300 },
      { kind: 'changed', stage_after: 'Closed Lost', count: 300, keys: 300 },
    ]);
  });

  test('that starts once the log is full ends equal to one that ran all the time, key by key', async () => {
    const handedTo = (name: string): Promise<Record<string, unknown>[]> => fixture.sql(`select id, key, kind, stage_before, stage_after from ${name} order by id, seq`);
    const into = (name: string): ConsumerDefinition => ({ ...recordingInto(name), name });
    await fixture.start({ definition: into('early') });
    for (let round = 0; round < 6; round += 1) {
      const events = Array.from({ length: 40 }, (_, n): LogEvent => (n % 7 === round ? fixture.deleted(n, round * 100 + 50) : stage(n, `Stage ${(n * round) % 4}`, ((n + round) % 5) * 100, round * 100)));
      await fixture.publish(events);
      await fixture.caughtUp('early');
    }
    await fixture.start({ definition: into('late') });
    await fixture.caughtUp('late');
    expect(await handedTo('late')).toEqual(await handedTo('early'));
    expect(await fixture.sql('select record_id, register::text, was_alive from consumer_late.newest order by 1')).toEqual(await fixture.sql('select record_id, register::text, was_alive from consumer_early.newest order by 1'));
  });

  test('that starts with "now" knows what stands, and is handed only what comes', async () => {
    await fixture.publish([stage(1, 'Qualification'), stage(2, 'Qualification')]);
    await fixture.start({ definition: recording, config: fixture.config({ startFrom: 'now' }) });
    await fixture.caughtUp('recording');
    await fixture.publish([stage(1, 'Closed Won', 100)]);
    await fixture.caughtUp('recording');
    expect(await fixture.sql('select kind, stage_before, stage_after from handed')).toEqual([{ kind: 'changed', stage_before: 'Qualification', stage_after: 'Closed Won' }]);
  });
});

test('a consumer that starts with "now" is handed all of a partition that was added to the topic since', async () => {
  const startWithNow = (): Promise<TestConsumer> => fixture.start({ definition: recording, config: fixture.config({ startFrom: 'now' }) });
  await startWithNow().then((running) => fixture.caughtUp('recording').then(() => running.stop()));
  await fixture.sql('delete from consumer_recording.position where partition = 1');
  await fixture.publish([1, 2, 3, 4, 5, 6].map((n) => stage(n, 'Qualification')));
  await startWithNow();
  await fixture.caughtUp('recording');
  expect(await fixture.sql('select count(*)::int as n from handed')).toEqual([{ n: 6 }]);
});

describe('what cannot be applied', () => {
  test('is set aside with place and cause where it is no event, and the rest goes on', async () => {
    await fixture.publish([{ id: idOf(1), value: 'no event' }, fixture.seen(1, { Stage: 'A' }, { covered: coverage(['Stage']) }), stage(1, 'Qualification')]);
    await fixture.start({ definition: recording });
    await fixture.caughtUp('recording');
    expect(await handed()).toEqual([{ kind: 'created', before: null, after: 'Qualification' }]);
    expect(await fixture.sql('select code, cause from consumer_recording.parked order by log_offset')).toEqual([
      { code: 'EVENT_MALFORMED', cause: 'no JSON' },
      { code: 'COVERAGE_UNKNOWN', cause: expect.stringMatching(/never declared coverage/) as unknown },
    ]);
  });

  test('an event of a newer version stops its partition after what stands before it', async () => {
    const running = await fixture.start({ definition: recording });
    await fixture.publish([stage(1, 'Qualification'), { id: idOf(1), value: '{"v":3,"type":"seen","id":"1"}' }, stage(1, 'Closed Won', 100)]);
    expect(await haltedBecause(running)).toMatch(/1 partitions are halted, .*event version 3; this build reads up to 2/);
    expect(await handed('kind')).toEqual([{ kind: 'created' }]);
  });

  test('an effect that fails takes the batch back, is tried again, and happens once', async () => {
    let isBroken = true;
    const failing: ConsumerDefinition = {
      ...recording,
      apply: async (batch, transaction) => {
        await recording.apply?.(batch, transaction);
        if (isBroken && batch.changes.length > 0) throw new Error('the table is locked up');
      },
    };
    await fixture.publish([stage(1, 'Qualification')]);
    const running = await fixture.start({ definition: failing });
    expect(await haltedBecause(running)).toMatch(/the effect of Deals failed: the table is locked up/);
    expect(await handed()).toEqual([]);
    isBroken = false;
    await fixture.caughtUp('recording');
    expect(await handed('kind')).toEqual([{ kind: 'created' }]);
    await expect.poll(() => haltedBecauseOf(running)).toBe(null);
  });

  test('a topic that was created again stops its partitions, and says what to do', async () => {
    await fixture.start({ definition: recording }).then((running) => fixture.caughtUp('recording').then(() => running.stop()));
    await fixture.sql(`update consumer_recording.position set topic_id = 'another'`);
    expect(await haltedBecause(await fixture.start({ definition: recording }))).toMatch(/it was created again\. .*lockstep replay <consumer> --from beginning/);
  });

  test('a log that has lost the next offset stops its partition', async () => {
    await fixture.start({ definition: recording }).then((running) => fixture.caughtUp('recording').then(() => running.stop()));
    await fixture.sql('update consumer_recording.position set next_offset = 1000 where partition = 0');
    expect(await haltedBecause(await fixture.start({ definition: recording }))).toMatch(/1 partitions are halted, .*and 1000 is next: what lies between is lost/);
  });

  test('a damaged batch of the log stops its partition until the disk is restored, and the other goes on', async ({ skip }) => {
    await fixture.publish([stage(1, 'Qualification')]);
    const offsets = await fixture.admin.topicOffsets(fixture.topic.name);
    const partition = offsets.find(({ high }) => high === 2)?.partition as number;
    await fixture.publish([stage(1, 'Closed Won', 100)]);
    const file = await segmentFile(fixture.topic.name, partition);
    if (file === undefined) return skip("the broker's disk is out of reach: in a container, or on another machine");
    const damaged = ((await file.batches()).at(-1) as number) + 100;
    await file.flip(damaged);
    const running = await fixture.start({ definition: recording });
    expect(await haltedBecause(running)).toMatch(/1 partitions are halted, .*cannot be read at offset 2: a record batch's CRC-32C does not match/);
    await file.flip(damaged);
    await fixture.caughtUp('recording');
    expect(await handed('kind')).toEqual([{ kind: 'created' }, { kind: 'changed' }]);
    await expect.poll(() => haltedBecauseOf(running)).toBe(null);
  });
});

describe('transactions of another writer', () => {
  const foreign = ({ id, value }: LogEvent): { key: string; value: string; partition: number } => ({ key: id, value, partition: partitionOf(id, fixture.partitions) });

  test('are handed on where they were committed, and passed over where they were given up, also after a restart', async () => {
    const running = await fixture.start({ definition: recording });
    await fixture.publish([stage(1, 'Qualification')]);
    await writeTransactions(fixture.topic.name, [
      { end: 'abort', messages: [foreign(stage(1, 'Given up', 50))] },
      { end: 'commit', messages: [foreign(stage(1, 'Negotiation/Review', 60)), foreign(stage(2, 'Qualification'))] },
      { end: 'abort', messages: [foreign(stage(1, 'Given up', 70))] },
    ]);
    await fixture.caughtUp('recording');
    await running.stop();
    await fixture.publish([stage(1, 'Closed Won', 100)]);
    const again = await fixture.start({ definition: recording });
    await fixture.caughtUp('recording');
    expect(await handed('stage_after as after')).toEqual([{ after: 'Qualification' }, { after: 'Negotiation/Review' }, { after: 'Closed Won' }]);
    expect(await handed('stage_after as after', 2)).toEqual([{ after: 'Qualification' }]);
    expect([await fixture.sql('select from consumer_recording.parked'), haltedBecauseOf(again)]).toEqual([[], null]);
  });

  test('that stay open are named with what ends them; the other partition goes on, and so does this one once they end', async () => {
    const beside = [2, 3, 4, 5, 6, 7].find((n) => partitionOf(idOf(n), fixture.partitions) !== partitionOf(idOf(1), fixture.partitions)) as number;
    await fixture.publish([stage(1, 'Qualification')]);
    const running = await fixture.start({ definition: recording, heldMs: 200 });
    await fixture.caughtUp('recording');
    const finish = await openTransaction(fixture.topic.name, [foreign(stage(1, 'Given up', 50))]);
    await fixture.publish([stage(1, 'Closed Won', 100), stage(beside, 'Qualification')]);
    expect(await haltedBecause(running)).toMatch(/1 partitions are halted, .* cannot be read on at offset 2: another producer has a transaction open there.* --start-offset 2$/);
    await expect.poll(() => handed('kind', beside)).toEqual([{ kind: 'created' }]);
    expect(await handed('stage_after as after')).toEqual([{ after: 'Qualification' }]);
    await finish('abort');
    await fixture.caughtUp('recording');
    expect(await handed('stage_after as after')).toEqual([{ after: 'Qualification' }, { after: 'Closed Won' }]);
    expect(haltedBecauseOf(running)).toBe(null);
  });
});

function haltedBecauseOf({ consumer }: TestConsumer): string | null {
  try {
    consumer.check();
    return null;
  } catch (error) {
    return (error as Error).message;
  }
}
