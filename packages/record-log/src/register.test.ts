import fc from 'fast-check';
import { describe, expect, test } from 'vitest';

import { emptyRegister, fold, isAlive, isSettled, merge, registerOf, rowOf } from './register.ts';
import { deletedAt, observations, repairedAt, seenAt, time } from './testing.ts';
import { observedAt, versionTime } from './version.ts';

const foldBatches = (batches: readonly (readonly Parameters<typeof registerOf>[0][])[]) => batches.map(fold).reduce(merge, emptyRegister);

describe('merge', () => {
  const register = observations.map(fold);

  test('is commutative', () => {
    fc.assert(fc.property(register, register, (a, b) => {
      expect(merge(a, b)).toEqual(merge(b, a));
    }));
  });

  test('is associative', () => {
    fc.assert(fc.property(register, register, register, (a, b, c) => {
      expect(merge(merge(a, b), c)).toEqual(merge(a, merge(b, c)));
    }));
  });

  test('is idempotent', () => {
    fc.assert(fc.property(register, (a) => {
      expect(merge(a, a)).toEqual(a);
    }));
  });

  test('has the empty register as its neutral element', () => {
    fc.assert(fc.property(register, (a) => {
      expect(merge(a, emptyRegister)).toEqual(a);
    }));
  });
});

const timeOf = ({ live }: ReturnType<typeof fold>): number => (live === undefined ? 0 : versionTime(live));

describe('fold', () => {
  test('ends at one register for any order, doubling and batch cut of the same observations', () => {
    const shuffled = observations.chain((all) =>
      fc.tuple(
        fc.constant(all),
        fc.shuffledSubarray([...all, ...all, ...all], { minLength: all.length * 3 }),
        fc.array(fc.nat({ max: all.length * 3 }), { maxLength: 5 }),
      ),
    );
    fc.assert(
      fc.property(shuffled, ([all, doubled, cuts]) => {
        const edges = [0, ...cuts.toSorted((a, b) => a - b), doubled.length];
        const batches = edges.slice(1).map((end, i) => doubled.slice(edges[i], end));
        expect(foldBatches(batches)).toEqual(fold(all));
      }),
    );
  });

  test('the row is a function of the register alone', () => {
    fc.assert(fc.property(observations, (all) => {
      expect(rowOf(fold(all.toReversed()))).toEqual(rowOf(fold(all)));
    }));
  });

  test('never lets the version or the deletion go back', () => {
    fc.assert(
      fc.property(observations, observations, (before, after) => {
        const early = fold(before);
        const late = merge(early, fold(after));
        expect(timeOf(late)).toBeGreaterThanOrEqual(timeOf(early));
        expect(late.deletedMs ?? 0).toBeGreaterThanOrEqual(early.deletedMs ?? 0);
      }),
    );
  });
});

describe('consequences of the fold', () => {
  const row = (...all: Parameters<typeof fold>[0] extends Iterable<infer T> ? T[] : never) => rowOf(fold(all));

  test('an outdated CSV row never overwrites a newer notification', () => {
    const csvRow = seenAt({ modified: '10:00:00', look: ['10:04:00', '10:09:00'], name: 'Old' });
    const look = seenAt({ modified: '10:05:00', look: ['10:05:01', '10:05:02'], name: 'New' });
    expect(row(look, csvRow)?.content.fields).toEqual(['New']);
    expect(row(csvRow, look)?.content.fields).toEqual(['New']);
  });

  test('a look made before a delete never resurrects the record', () => {
    const look = seenAt({ modified: '09:00:00', look: ['10:00:00', '10:00:00'] });
    expect(isAlive(fold([deletedAt('10:05:00'), look]))).toBe(false);
  });

  test('a delete counts up to the last millisecond of its whole second', () => {
    // Deleted at 10:00:00.700, listed as 10:00:00; the look at 10:00:00.100 came before it, and ε alone must not decide it.
    const look = seenAt({ modified: '09:00:00', look: ['10:00:00.100', '10:00:00.100'] });
    expect(fold([deletedAt('10:00:00')]).deletedMs).toBe(time('10:00:00.999'));
    expect(isAlive(fold([look, deletedAt('10:00:00')]), 0)).toBe(false);
  });

  test('a stale look soon after a delete does not revive the record', () => {
    expect(isAlive(fold([deletedAt('10:00:00'), seenAt({ modified: '09:00:00', look: ['10:00:02', '10:00:02'] })]))).toBe(false);
  });

  test('a record restored with an old Modified_Time comes back with its payload', () => {
    const before = seenAt({ modified: '09:00:00', look: ['09:00:05', '09:00:06'], name: 'Kept' });
    const after = seenAt({ modified: '09:00:00', look: ['10:10:00', '10:10:01'], name: 'Kept' });
    expect(row(before, deletedAt('10:05:00'), after)).toEqual({ modifiedMs: time('09:00:00'), deletedMs: undefined, ...contentOf(after) });
  });

  test('a record whose Modified_Time is after the delete is alive, however early its bulk job began', () => {
    const csvRow = seenAt({ modified: '10:03:00', look: ['10:00:00', '10:05:00'] });
    expect(csvRow.observedMs).toBe(time('10:03:00'));
    expect(isAlive(fold([deletedAt('10:01:00'), csvRow]))).toBe(true);
  });

  test('two edits in one second converge to the later content, in either order of arrival', () => {
    const first = seenAt({ modified: '10:00:00', look: ['10:00:00.200', '10:00:00.300'], name: 'First' });
    const second = seenAt({ modified: '10:00:00', look: ['10:00:00.800', '10:00:00.900'], name: 'Second' });
    expect(row(first, second)?.content.fields).toEqual(['Second']);
    expect(row(second, first)?.content.fields).toEqual(['Second']);
    expect(isSettled(fold([first, second]))).toBe(false);
  });

  test('a settled look is one that can see no newer content of its second', () => {
    expect(isSettled(fold([seenAt({ modified: '10:00:00', look: ['10:01:00.999', '10:01:01'] })]))).toBe(false);
    expect(isSettled(fold([seenAt({ modified: '10:00:00', look: ['10:01:01', '10:01:02'] })]))).toBe(true);
  });

  test('a look close to a delete is not settled', () => {
    const look = seenAt({ modified: '09:00:00', look: ['10:00:30', '10:00:31'] });
    expect(isSettled(fold([look]))).toBe(true);
    expect(isSettled(fold([look, deletedAt('10:00:00')]))).toBe(false);
  });

  test('a delete before the create leaves a deleted row', () => {
    const look = seenAt({ modified: '10:00:00', look: ['10:00:01', '10:00:01'] });
    expect(row(deletedAt('10:05:00'), look)?.deletedMs).toBe(time('10:05:00.999'));
  });

  test('a stale look after a delete ends dead in every order', () => {
    const all = [
      seenAt({ modified: '10:00:00', look: ['10:00:05', '10:00:05'] }),
      deletedAt('10:05:00'),
      seenAt({ modified: '09:00:00', look: ['10:10:00', '10:10:00'] }),
    ];
    fc.assert(fc.property(fc.shuffledSubarray(all, { minLength: 3 }), (some) => {
      expect(isAlive(fold(some))).toBe(false);
    }));
  });

  test('a confirmation moves the look and keeps the content', () => {
    const seen = seenAt({ modified: '09:00:00', look: ['09:00:05', '09:00:05'], name: 'Kept' });
    const confirmed = { type: 'RecordConfirmed', id: seen.id, modifiedMs: seen.modifiedMs, observedMs: time('11:00:00'), hash: seen.hash } as const;
    expect(fold([confirmed, seen]).live?.observedMs).toBe(time('11:00:00'));
    expect(row(confirmed, seen)?.content.fields).toEqual(['Kept']);
  });

  test('a repair replaces a content whose Modified_Time lay in the future, and shows the time that was read', () => {
    const imported = seenAt({ modified: '23:00:00', look: ['10:00:00', '10:00:01'], name: 'Imported' });
    const edited = seenAt({ modified: '10:05:00', look: ['10:05:01', '10:05:01'], name: 'Edited' });
    const repaired = repairedAt({ modified: '10:05:00', version: '23:00:00', look: ['10:30:00', '10:40:00'], name: 'Edited' });
    expect(row(imported, edited)?.content.fields).toEqual(['Imported']);
    expect(row(repaired, edited, imported)).toEqual({ modifiedMs: time('10:05:00'), deletedMs: undefined, ...contentOf(edited) });
  });

  test('what lost to a repair does not come back, and a later edit of the repaired wins as a repair or by its own time', () => {
    const imported = seenAt({ modified: '23:00:00', look: ['10:00:00', '10:00:01'], name: 'Imported' });
    const repaired = repairedAt({ modified: '10:05:00', version: '23:00:00', look: ['10:30:00', '10:40:00'], name: 'Edited' });
    const again = repairedAt({ modified: '10:50:00', version: '23:00:00', look: ['10:50:01', '10:50:01'], name: 'Edited again' });
    const afterAll = seenAt({ modified: '23:00:01', look: ['23:00:02', '23:00:02'], name: 'Long after' });
    expect(row(again, imported, repaired)?.content.fields).toEqual(['Edited again']);
    expect(row(afterAll, again, imported, repaired)?.content.fields).toEqual(['Long after']);
  });

  test('a confirmation of what was repaired moves the look', () => {
    const { type: _, coverage: __, fields: ___, ...repaired } = repairedAt({ modified: '10:05:00', version: '23:00:00', look: ['10:30:00', '10:40:00'], name: 'Edited' });
    const all = [repairedAt({ modified: '10:05:00', version: '23:00:00', look: ['10:30:00', '10:40:00'], name: 'Edited' }), { type: 'RecordConfirmed', ...repaired, observedMs: time('12:00:00') } as const];
    expect(fold(all).live).toEqual({ modifiedMs: time('10:05:00'), versionMs: time('23:00:00'), observedMs: time('12:00:00'), hash: repaired.hash });
    expect(row(...all)?.content.fields).toEqual(['Edited']);
  });

  test('a repaired record is settled once it was looked at late enough after the time that was read', () => {
    expect(isSettled(fold([seenAt({ modified: '23:00:00', look: ['12:00:00', '12:00:00'] })]))).toBe(false);
    expect(isSettled(fold([repairedAt({ modified: '10:05:00', version: '23:00:00', look: ['12:00:00', '12:00:00'] })]))).toBe(true);
  });

  test('a register that knows only deletions and confirmations has no row', () => {
    expect(row(deletedAt('10:00:00'))).toBeNull();
  });
});

describe('observedAt', () => {
  test('is the start of a look at a record modified before it', () => expect(observedAt({ lowerMs: 10, upperMs: 20 }, 5)).toBe(10));
  test('is the modification inside the look', () => expect(observedAt({ lowerMs: 10, upperMs: 20 }, 15)).toBe(15));
  test('is the end of the look for a Modified_Time in the future', () => expect(observedAt({ lowerMs: 10, upperMs: 20 }, 99)).toBe(20));
});

const contentOf = ({ coverage, fields }: ReturnType<typeof seenAt>) => ({ content: { coverage, fields } });
