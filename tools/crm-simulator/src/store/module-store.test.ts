import { describe, expect, test } from 'vitest';

import { catalogue } from '../catalogue/catalogue.ts';
import type { Value } from '../catalogue/field-spec.ts';
import { truthOf } from '../render/truth.ts';
import type { LiveRecord } from './live-record.ts';
import { ModuleStore } from './module-store.ts';

const [leads] = catalogue;
if (leads === undefined) throw new Error('the catalogue has no modules');
const always = { from: -Infinity, to: Infinity };
const store = (seeded: number, seed = 1): ModuleStore => new ModuleStore(leads, seeded, seed);
const nth = (records: ModuleStore, position: number): LiveRecord => records.at(position) as LiveRecord;
const company = (name: string): ReadonlyMap<string, Value> => new Map([['Company', name]]);
const ids = (records: Iterable<LiveRecord>): string[] => Array.from(records, (record) => record.id);

describe('seeded records', () => {
  test('are a pure function of seed, module and index', () => {
    const truth = (records: ModuleStore): unknown => truthOf(nth(records, 20));
    expect(truth(store(30))).toEqual(truth(store(5000)));
    expect(truth(store(30))).not.toEqual(truth(store(30, 2)));
  });

  test('are found by time as by id, each once', () => {
    const records = store(3000);
    expect(ids(records.byModified(always, false)).toSorted()).toEqual(ids(records.byKey(always, false)));
  });

  test('come by time in the order of second and id, forwards; backwards the seconds turn round and the ids do not', () => {
    const records = store(3000);
    const bySecond = (sign: number) => (a: LiveRecord, b: LiveRecord) => sign * (a.modifiedMs - b.modifiedMs) || a.key - b.key;
    for (const [descending, sign] of [[false, 1], [true, -1]] as const) {
      const found = [...records.byModified(always, descending)];
      expect(ids(found)).toEqual(ids(found.toSorted(bySecond(sign))));
    }
  });

  test('several share a second', () => {
    const records = [...store(64).byModified(always, false)];
    expect(new Set(records.map(({ modifiedMs }) => modifiedMs)).size).toBeLessThan(records.length / 2);
  });
});

describe('edits', () => {
  test('leave a record that was read before as it was', () => {
    const records = store(10);
    const edited = records.edit(nth(records, 3), company('First'), 2_000_000_000_000);
    records.edit(edited, company('Second'), 2_000_000_001_000);
    expect([edited.value('Company'), edited.modifiedMs]).toEqual(['First', 2_000_000_000_000]);
    expect([nth(records, 3).value('Company'), nth(records, 3).modifiedMs]).toEqual(['Second', 2_000_000_001_000]);
  });

  test('change nothing but the fields they name and Modified_Time', () => {
    const records = store(10);
    const before = truthOf(nth(records, 3));
    records.edit(nth(records, 3), company('Other'), 2_000_000_000_000);
    expect(truthOf(nth(records, 3))).toEqual({ ...before, Company: 'Other', Modified_Time: '2033-05-18T03:33:20Z' });
  });

  test('made during a reading by time hide nothing and put nothing out of order', () => {
    const records = store(0);
    const created = Array.from({ length: 6 }, (_, n) => records.create(company(`${n}`), 1000 * (n + 1), false));
    const reading = records.byModified(always, false);
    const read = [reading.next().value, reading.next().value].map((record) => (record as LiveRecord).id);
    records.edit(created[0] as LiveRecord, company('moved'), 9000); // its second is empty now
    records.edit(created[3] as LiveRecord, company('moved'), 9000);
    const rest = [...reading];
    expect(read).toEqual([created[0]?.id, created[1]?.id]);
    expect(rest.map(({ modifiedMs }) => modifiedMs)).toEqual([3000, 5000, 6000, 9000, 9000]);
    expect(new Set([...read, ...ids(rest)]).size).toBe(6);
  });
});

describe('deletions', () => {
  test('take a record out of every reading, and keep its name for the deleted list', () => {
    const records = store(100);
    const gone = nth(records, 7);
    records.delete(gone, 2_000_000_000_000, 'recycle', { id: '1', name: 'Somebody' });
    for (const reading of [records.byKey(always, false), records.byModified(always, false)]) expect(ids(reading)).not.toContain(gone.id);
    expect([...records.deleted()]).toMatchObject([{ key: gone.key, displayName: gone.value('Full_Name') }]);
    expect(records.liveCount).toBe(99);
  });
});
