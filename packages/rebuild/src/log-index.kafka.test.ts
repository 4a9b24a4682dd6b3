import { coverageOf, leads } from '@lockstep/modules';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';

import { explainRecord } from './explain-record.ts';
import { extendLogIndex, spansWithKey } from './log-index.ts';
import { declared, Fixture, idOf, lead, partOf, seen } from './testing.ts';

const PART = 50;

let fixture: Fixture;

beforeEach(async () => {
  fixture = await Fixture.open();
  await fixture.publish([...declared(coverageOf(leads)), ...Array.from({ length: 600 }, (_, n) => seen(n, lead(n)))]);
  await fixture.publish([seen(3, lead(3, { City: 'Oslo' }), { modified: 5 }), ...Array.from({ length: 300 }, (_, n) => seen(n + 1_000, lead(n)))]);
  await fixture.project();
});
afterEach(() => fixture.close());

const extend = (): Promise<number> => extendLogIndex(fixture.deps, fixture.topic.name, { part: PART });
const history = async (n: number): Promise<string[]> => (await explainRecord(fixture.deps, fixture.projection(), idOf(n), fixture.topic.name)).history.map(({ offset, outcome }) => `${offset} ${outcome}`);
async function spansOf(n: number): Promise<readonly (readonly [number, number])[]> {
  const { admin, pool } = fixture.deps;
  const partition = partOf(idOf(n));
  const offsets = (await admin.topicOffsets(fixture.topic.name)).find((one) => one.partition === partition);
  const spans = await spansWithKey(pool, await admin.topicId(fixture.topic.name), Buffer.from(idOf(n)), { partition, low: 0, high: offsets?.high ?? 0 });
  return spans.map(({ from = 0, end }) => [from, end]);
}
const lengthOf = (spans: readonly (readonly [number, number])[]): number => spans.reduce((sum, [from, end]) => sum + end - from, 0);

describe('the index of the log', () => {
  test('lets a history be read from the parts in which the record may stand, and changes nothing of it', async () => {
    const [before, whole] = [await history(3), lengthOf(await spansOf(3))];
    expect(before).toHaveLength(2);
    expect(await extend()).toBeGreaterThan(12);
    expect(await history(3)).toEqual(before);
    const first = fixture.offsetOf(idOf(3));
    const last = fixture.offsetOf(idOf(3), 'Oslo');
    const spans = await spansOf(3);
    for (const offset of [first, last]) expect(spans.some(([from, end]) => offset >= from && offset < end)).toBe(true);
    expect(lengthOf(spans)).toBeLessThan(whole / 2);
  });

  test('has each message of a record, for every record', async () => {
    await extend();
    for (let n = 0; n < 600; n += 7) {
      const offset = fixture.offsetOf(idOf(n));
      expect((await spansOf(n)).some(([from, end]) => offset >= from && offset < end)).toBe(true);
    }
  });

  test('leaves nothing but its end to be read for a record that there is not', async () => {
    await extend();
    const lengths = await Promise.all(Array.from({ length: 20 }, async (_, n) => lengthOf(await spansOf(50_000 + n))));
    // A filter may err now and then.
    expect(lengths.filter((length) => length < PART).length).toBeGreaterThan(15);
    expect(await history(50_000)).toEqual([]);
  });

  test('is extended by what came since, and by nothing while no part is complete', async () => {
    await extend();
    expect(await extend()).toBe(0);
    await fixture.publish(Array.from({ length: 300 }, (_, n) => seen(n + 2_000, lead(n))));
    await fixture.project();
    expect(await extend()).toBeGreaterThan(3);
    expect(await history(2_007)).toHaveLength(1);
    expect(lengthOf(await spansOf(2_007))).toBeLessThan(3 * PART);
  });

  test('may be lost in part or as a whole, and be made by two at once', async () => {
    const before = await history(3);
    await Promise.all([extend(), extend()]);
    await fixture.sql('delete from lockstep.log_index where from_offset % 100 = 0');
    expect(await history(3)).toEqual(before);
    await fixture.sql('truncate lockstep.log_index');
    expect(await history(3)).toEqual(before);
    expect(await extend()).toBeGreaterThan(12);
  });
});
