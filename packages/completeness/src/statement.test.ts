import { describe, expect, test } from 'vitest';

import { isUnhinted, statementOf } from './statement.ts';

const known = { modifiedMs: 1_000, hash: 'a', deletedMs: null };

describe('a look is written down', () => {
  test('in full where the register holds nothing, another version or another content', () => {
    expect(statementOf(undefined, { modifiedMs: 1_000, hash: 'a' })).toBe('seen');
    expect(statementOf(known, { modifiedMs: 2_000, hash: 'a' })).toBe('seen');
    expect(statementOf(known, { modifiedMs: 1_000, hash: 'b' })).toBe('seen');
  });

  test('in full where the record was deleted: its row may have to come back', () => {
    expect(statementOf({ ...known, deletedMs: 500 }, { modifiedMs: 1_000, hash: 'a' })).toBe('seen');
  });

  test('as a confirmation where the register holds this very content', () => {
    expect(statementOf(known, { modifiedMs: 1_000, hash: 'a' })).toBe('confirmed');
  });
});

describe('a change that nobody had told of', () => {
  test('is one that the register does not have although a notification had time to come', () => {
    expect(isUnhinted(known, { modifiedMs: 2_000, observedMs: 60_000 })).toBe(true);
    expect(isUnhinted(undefined, { modifiedMs: 2_000, observedMs: 60_000 })).toBe(true);
    expect(isUnhinted(known, { modifiedMs: 2_000, observedMs: 20_000 })).toBe(false);
    expect(isUnhinted(known, { modifiedMs: 1_000, observedMs: 60_000 })).toBe(false);
  });
});
