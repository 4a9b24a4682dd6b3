import fc from 'fast-check';
import { describe, expect, test } from 'vitest';

import { coverage } from './coverage.ts';
import { doubtSince } from './life-times.ts';
import type { Observation, RecordSeen } from './observation.ts';
import { emptyRegister, fold, isAlive, isSettled, merge, observe, registerOf, rowOf } from './register.ts';
import { confirmation, confirmedAt, deletedAt, observations, repairedAt, seenAt, statements, time } from './testing.ts';
import { observedAt, versionTime } from './version.ts';

describe('merge', () => {
  const register = statements.map((all) => all.map(registerOf).reduce(merge, emptyRegister));

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
  test('ends at one register for any order, duplication and batch cut of the same contents and deletions', () => {
    const shuffled = statements.chain((all) =>
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
        expect(batches.map((batch) => fold(batch)).reduce(merge, emptyRegister)).toEqual(fold(all));
      }),
    );
  });

  test('the row is a function of the contents and deletions alone, in any order', () => {
    fc.assert(fc.property(statements, (all) => {
      expect(rowOf(fold(all.toReversed()))).toEqual(rowOf(fold(all)));
    }));
  });

  test('a confirmation changes nothing of the row, wherever it stands and whatever it confirms; nor does it move the look back', () => {
    fc.assert(fc.property(observations, confirmation, (all, confirmed) => {
      const before = fold(all);
      const after = observe(before, confirmed);
      expect(rowOf(after)).toEqual(rowOf(before));
      expect(isAlive(after)).toBe(isAlive(before));
      expect(after.live?.observedMs ?? 0).toBeGreaterThanOrEqual(before.live?.observedMs ?? 0);
    }));
  });

  test('never lets the version, the deletion or its listing go back', () => {
    fc.assert(
      fc.property(observations, observations, (before, after) => {
        const early = fold(before);
        const late = fold([...before, ...after]);
        expect(timeOf(late)).toBeGreaterThanOrEqual(timeOf(early));
        expect(late.deletedMs ?? 0).toBeGreaterThanOrEqual(early.deletedMs ?? 0);
        expect(late.listedMs ?? 0).toBeGreaterThanOrEqual(early.listedMs ?? 0);
      }),
    );
  });
});

describe('consequences of the fold', () => {
  const row = (...all: Observation[]) => rowOf(fold(all));

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

  test('a look close to a delete is not settled, until the list, read later than any look lags, still names the record', () => {
    for (const look of ['09:59:30', '10:00:30']) {
      const seen = seenAt({ modified: '09:00:00', look: [look, look] });
      expect(isSettled(fold([seen]))).toBe(true);
      expect(isSettled(fold([seen, deletedAt('10:00:00')]))).toBe(false);
      expect(isSettled(fold([seen, deletedAt('10:00:00', '10:01:00.999')]))).toBe(false);
      expect(isSettled(fold([seen, deletedAt('10:00:00', '10:01:01')]))).toBe(true);
      expect(isSettled(fold([deletedAt('10:00:00', '10:01:01'), deletedAt('10:00:00', '10:00:05'), seen, deletedAt('10:00:00')]))).toBe(true);
    }
  });

  test('a deletion without a look near it is settled, as is one of a record that was never seen', () => {
    expect(isSettled(fold([seenAt({ modified: '09:00:00', look: ['09:30:00', '09:30:00'] }), deletedAt('10:00:00')]))).toBe(true);
    expect(isSettled(fold([deletedAt('10:00:00')]))).toBe(true);
  });

  test('a later deletion is in doubt again, whatever was listed before', () => {
    const all = [deletedAt('10:00:00', '10:05:00'), seenAt({ modified: '09:00:00', look: ['11:00:00', '11:00:00'] }), deletedAt('11:00:30', '11:00:31')];
    expect(isSettled(fold(all))).toBe(false);
    expect(isSettled(fold([...all, deletedAt('11:00:30', '11:01:32')]))).toBe(true);
  });

  test('the doubt of a living record begins at its Modified_Time, that of a dead one where look and deletion are close', () => {
    const of = (observed: string, deleted: string | null) => ({ modifiedMs: time('09:00:00'), observedMs: time(observed), deletedMs: deleted === null ? null : time(deleted) });
    expect(doubtSince(of('09:00:20', null))).toBe(time('09:00:00'));
    expect(doubtSince(of('09:59:40', '10:00:00'))).toBe(time('09:59:40'));
    expect(doubtSince(of('10:00:20', '10:00:00'))).toBe(time('10:00:00'));
  });

  test('a deletion that is listed although the record was restored meanwhile, and restored again later, is right at the end', () => {
    const seen = seenAt({ modified: '09:00:00', look: ['09:59:40', '09:59:40'] });
    const restored = seenAt({ modified: '09:00:00', look: ['10:05:00', '10:05:00'] });
    const all = [seen, deletedAt('10:00:00', '10:00:10'), deletedAt('10:00:00', '10:01:02')];
    expect([isAlive(fold(all)), isSettled(fold(all))]).toEqual([false, true]);
    expect([isAlive(fold([...all, restored])), isSettled(fold([...all, restored]))]).toEqual([true, true]);
  });

  test('what a content of a smaller coverage does not speak of stays as it stands', () => {
    const wide = coverage(['Last_Name', 'City']);
    const narrow = coverage(['Last_Name']);
    const seen = (modified: string, covered: typeof wide, fields: readonly string[]): RecordSeen => ({ ...seenAt({ modified, look: [modified, modified], name: fields.join() }), coverage: covered.id, fields });
    const before = seen('09:00:00', wide, ['Ada', 'Paris']);
    const after = seen('10:00:00', narrow, ['Grace']);
    expect(row(before, after)).toMatchObject({ content: { coverage: narrow.id, fields: ['Grace'] }, earlier: [{ coverage: wide.id, fields: ['Ada', 'Paris'] }] });
    expect(row(before, after, seen('11:00:00', wide, ['Kay', 'Rome']), seen('08:00:00', narrow, ['Old']))).toMatchObject({ content: { fields: ['Kay', 'Rome'] }, earlier: [{ coverage: narrow.id, fields: ['Grace'] }] });
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
    expect(fold([seen, confirmedAt(seen, '11:00:00')]).live?.observedMs).toBe(time('11:00:00'));
    expect(row(seen, confirmedAt(seen, '11:00:00'))?.content.fields).toEqual(['Kept']);
  });

  test('an outdated content does not replace one that was confirmed after it', () => {
    const seen = seenAt({ modified: '09:00:00', look: ['09:00:05', '09:00:05'], name: 'Kept' });
    const csvRow = seenAt({ modified: '09:00:00', look: ['10:00:00', '10:10:00'], name: 'Before' });
    expect(row(seen, confirmedAt(seen, '11:00:00'), csvRow)?.content.fields).toEqual(['Kept']);
  });

  test('a confirmation of another content than the one that stands counts for nothing', () => {
    const seen = seenAt({ modified: '09:00:00', look: ['09:00:05', '09:00:05'], name: 'Kept' });
    const other = seenAt({ modified: '09:00:00', look: ['09:00:04', '09:00:04'], name: 'Other' });
    expect(fold([seen, confirmedAt(other, '11:00:00')])).toEqual(fold([seen]));
  });

  test('a confirmation does not make a dead record alive; a look that sees all of it does', () => {
    const seen = seenAt({ modified: '09:00:00', look: ['09:00:05', '09:00:05'] });
    const dead = [seen, deletedAt('10:00:00'), confirmedAt(seen, '12:00:00')];
    expect([isAlive(fold(dead)), row(...dead)?.deletedMs]).toEqual([false, time('10:00:00.999')]);
    expect(isAlive(fold([...dead, seenAt({ modified: '09:00:00', look: ['12:00:01', '12:00:01'] })]))).toBe(true);
  });

  test('a confirmation of a dead record that leaves it dead moves the look: it may bring the deletion in doubt', () => {
    const seen = seenAt({ modified: '09:00:00', look: ['09:30:00', '09:30:00'] });
    const doubted = fold([seen, deletedAt('10:00:00'), confirmedAt(seen, '10:00:30')]);
    expect([doubted.live?.observedMs, isAlive(doubted), isSettled(doubted)]).toEqual([time('10:00:30'), false, false]);
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
    const repaired = repairedAt({ modified: '10:05:00', version: '23:00:00', look: ['10:30:00', '10:40:00'], name: 'Edited' });
    const all = [repaired, confirmedAt(repaired, '12:00:00')];
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
