import { describe, expect, test } from 'vitest';

import { isUnhinted, type Known, STALE_AT_MOST_MS, statementOf } from './statement.ts';

const known: Known = { modifiedMs: 1_000, observedMs: 1_500, hash: 'a', deletedMs: null };
const soon = known.observedMs as number + STALE_AT_MOST_MS;

describe('a look is written down', () => {
  test('in full where the register holds nothing, another version or another content', () => {
    expect(statementOf(undefined, { modifiedMs: 1_000, hash: 'a', lowerMs: 2_000 })).toEqual({ type: 'seen' });
    expect(statementOf(known, { modifiedMs: 2_000, hash: 'a', lowerMs: 2_000 })).toEqual({ type: 'seen' });
    expect(statementOf(known, { modifiedMs: 1_000, hash: 'b', lowerMs: 2_000 })).toEqual({ type: 'seen' });
  });

  test('in full where the record was deleted: its row may have to come back', () => {
    expect(statementOf({ ...known, deletedMs: 500 }, { modifiedMs: 1_000, hash: 'a', lowerMs: 2_000 })).toEqual({ type: 'seen' });
  });

  test('as a confirmation where the record was restored since: it was seen clearly after its deletion', () => {
    const restored = { ...known, observedMs: 100_000, deletedMs: 39_999 };
    expect(statementOf(restored, { modifiedMs: 1_000, hash: 'a', lowerMs: 200_000 })).toEqual({ type: 'confirmed' });
    expect(statementOf({ ...restored, deletedMs: 40_000 }, { modifiedMs: 1_000, hash: 'a', lowerMs: 200_000 })).toEqual({ type: 'seen' });
    expect(statementOf({ ...restored, deletedMs: 99_000 }, { modifiedMs: 1_000, hash: 'a', lowerMs: 200_000 }, 500)).toEqual({ type: 'confirmed' });
  });

  test('as a confirmation where the register holds this very content', () => {
    expect(statementOf(known, { modifiedMs: 1_000, hash: 'a', lowerMs: 2_000 })).toEqual({ type: 'confirmed' });
  });

  test('as a repair where it shows an older time, and began later than any read lags behind', () => {
    expect(statementOf(known, { modifiedMs: 900, hash: 'b', lowerMs: soon + 1 })).toEqual({ type: 'repaired', versionMs: 1_000 });
  });

  test('as what it is, to be refused, where an older time may be a stale read', () => {
    expect(statementOf(known, { modifiedMs: 900, hash: 'b', lowerMs: soon })).toEqual({ type: 'seen' });
  });

  test('never as a repair where the register has seen nothing yet', () => {
    expect(statementOf({ modifiedMs: null, observedMs: null, hash: null, deletedMs: 500 }, { modifiedMs: 1, hash: 'a', lowerMs: soon + 1 })).toEqual({ type: 'seen' });
  });
});

describe('a look at a record that was repaired is written down', () => {
  const repaired: Known = { ...known, versionMs: 9_000_000 };

  test('as a confirmation of the repair where it shows what was read then', () => {
    expect(statementOf(repaired, { modifiedMs: 1_000, hash: 'a', lowerMs: 2_000 })).toEqual({ type: 'confirmed', versionMs: 9_000_000 });
  });

  test('as a repair again where it was edited since: its time has not yet caught up with the one it was repaired from', () => {
    expect(statementOf(repaired, { modifiedMs: 2_000, hash: 'b', lowerMs: 2_500 })).toEqual({ type: 'repaired', versionMs: 9_000_000 });
    expect(statementOf(repaired, { modifiedMs: 1_000, hash: 'b', lowerMs: 2_500 })).toEqual({ type: 'repaired', versionMs: 9_000_000 });
    expect(statementOf({ ...repaired, deletedMs: 1_700 }, { modifiedMs: 1_000, hash: 'a', lowerMs: 2_500 })).toEqual({ type: 'repaired', versionMs: 9_000_000 });
  });

  test('as what it is once its time has caught up', () => {
    expect(statementOf(repaired, { modifiedMs: 9_000_000, hash: 'b', lowerMs: 9_000_100 })).toEqual({ type: 'seen' });
  });

  test('as what it is, to be refused, where it may be stale', () => {
    expect(statementOf(repaired, { modifiedMs: 900, hash: 'b', lowerMs: 2_500 })).toEqual({ type: 'seen' });
  });
});

describe('a change without a notification', () => {
  test('is one that the register does not have although a notification had time to come', () => {
    expect(isUnhinted(known, { modifiedMs: 2_000, observedMs: 60_000 })).toBe(true);
    expect(isUnhinted(undefined, { modifiedMs: 2_000, observedMs: 60_000 })).toBe(true);
    expect(isUnhinted(known, { modifiedMs: 2_000, observedMs: 20_000 })).toBe(false);
    expect(isUnhinted(known, { modifiedMs: 1_000, observedMs: 60_000 })).toBe(false);
  });
});
