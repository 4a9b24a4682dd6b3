import { leads, products } from '@lockstep/modules';
import { describe, expect, test } from 'vitest';

import { History, requirementOf, type Version } from './history.ts';
import { type Claim, judgeClaims, judgeRows } from './judge.ts';

const at = (second: number): string => `2026-01-01T00:00:${String(second).padStart(2, '0')}Z`;
const ms = (second: number): number => Date.parse(at(second));
let seq = 0;
const version = (second: number, record: Version['record'], movesTime = true): Version => ({ seq: (seq += 1), module: 'Leads', id: '1', operation: record === null ? 'delete' : 'update', modifiedTime: at(second), movesTime, record });
const edited = (second: number, company: string, movesTime = true): Version => version(second, { id: '1', Modified_Time: at(second), Company: company }, movesTime);
const deleted = (second: number): Version => version(second, null);
const row = (second: number, company: string, more = {}) => ({ modified_time: at(second), company, deleted_at: null, ...more });

/** Judges one Lead's row by a claim up to a second. */
const judged = (versions: readonly Version[], seen: number, stands: ReturnType<typeof row> | undefined) =>
  judgeRows({ module: leads, versions: new Map([['1', versions]]), rows: new Map(stands === undefined ? [] : [['1', stands]]), seenMs: ms(seen) });

describe('a row is held to what its record was', () => {
  const twice = [edited(1, 'One'), edited(5, 'Two')];

  test.each([
    ['the version that the claim covers', 3, row(1, 'One')],
    ['a later version', 3, row(5, 'Two')],
    ['a change that is not covered', 1, row(0, 'Before')],
    ['nothing, where nothing is covered', 1, undefined],
  ])('%s may stand', (_, seen, stands) => {
    expect(judged(twice, seen, stands).falseClaims).toEqual([]);
  });

  test.each([
    ['the version before', 6, row(1, 'One'), { kind: 'outdated', column: 'modified_time', changedAt: at(5) }],
    ['the right time with a wrong value', 6, row(5, 'One'), { kind: 'wrong value', column: 'company', expected: 'Two', actual: 'One' }],
    ['the last character of a value', 6, row(5, 'Twp'), { kind: 'wrong value', column: 'company' }],
    ['a value that should be empty', 6, row(5, 'Two', { fax: '' }), { kind: 'wrong value', column: 'fax', expected: null }],
    ['values of two versions', 3, row(1, 'Two'), { kind: 'wrong value' }],
    ['no row', 6, undefined, { kind: 'missing' }],
    ['a deleted row', 6, row(5, 'Two', { deleted_at: at(6) }), { kind: 'deleted' }],
  ])('%s is a false claim', (_, seen, stands, fault) => {
    expect(judged(twice, seen, stands)).toMatchObject({ covered: 1, falseClaims: [{ module: 'Leads', id: '1', claimedUpTo: at(seen).replace('Z', '.000Z'), ...fault }] });
  });

  test('a deletion that is covered has to stand, marked or removed', () => {
    const versions = [edited(1, 'One'), deleted(5)];
    expect(judged(versions, 6, row(1, 'One', { deleted_at: at(5) })).falseClaims).toEqual([]);
    expect(judged(versions, 6, undefined).falseClaims).toEqual([]);
    expect(judged(versions, 6, row(1, 'One')).falseClaims).toMatchObject([{ kind: 'not deleted' }]);
    const stays = judgeRows({ module: products, versions: new Map([['1', versions]]), rows: new Map([['1', row(1, 'One')]]), seenMs: ms(6) });
    expect(stays.falseClaims).toMatchObject([{ kind: 'not deleted' }]);
  });

  test('an edit of a record that was deleted later is not held against the claim', () => {
    expect(judged([edited(1, 'One'), deleted(5)], 3, row(0, 'Before'))).toEqual({ covered: 0, falseClaims: [] });
  });

  test('an edit that kept its time may show or not, and nothing but its values', () => {
    const versions = [edited(1, 'One'), edited(1, 'Quiet', false)];
    for (const company of ['One', 'Quiet']) expect(judged(versions, 3, row(1, company)).falseClaims).toEqual([]);
    expect(judged(versions, 3, row(1, 'Neither')).falseClaims).toMatchObject([{ kind: 'wrong value' }]);
  });

  test('a deletion that was taken back may never have been seen: the row stands as it did before, with an edit that kept its time or without', () => {
    const versions = [edited(1, 'One'), edited(1, 'Quiet', false), deleted(5), edited(1, 'Quiet', false)];
    for (const company of ['One', 'Quiet']) expect(judged(versions, 6, row(1, company)).falseClaims).toEqual([]);
    expect(judged(versions, 6, row(1, 'Quiet', { deleted_at: at(5) })).falseClaims).toEqual([]);
    expect(judged(versions, 6, row(0, 'Before')).falseClaims).toMatchObject([{ kind: 'not deleted' }]);
    expect(judged(versions.slice(1), 6, row(1, 'One'))).toEqual({ covered: 0, falseClaims: [] });
  });

  test('a restored record is one of its versions since the deletion, and no other', () => {
    const versions = [edited(1, 'One'), deleted(3), edited(1, 'One', false), edited(5, 'Two')];
    for (const stands of [undefined, row(1, 'One'), row(5, 'Two')]) expect(judged(versions, 6, stands).falseClaims).toEqual([]);
    expect(judged(versions, 6, row(5, 'One')).falseClaims).toMatchObject([{ kind: 'wrong value' }]);
    expect(requirementOf(versions, ms(4))?.allowed).toEqual(versions);
  });
});

describe('claims are held to each other', () => {
  const claim = (given: Partial<Claim> = {}): Claim => ({ module: 'Leads', seenMs: ms(10), settledMs: ms(8), refreshedMs: ms(2), parked: 0, hidden: 0, unsettled: 1, hasParked: false, hasHidden: false, ...given });
  const judgedClaims = (current: Claim, before = claim(), nowMs = ms(20)) => judgeClaims(new Map([['Leads', before]]), [current], nowMs);

  test('that go on are right, and the first ones too', () => {
    expect(judgedClaims(claim({ seenMs: ms(11), settledMs: ms(7), refreshedMs: ms(3) }))).toEqual([]);
    expect(judgeClaims(new Map(), [claim({ seenMs: null, settledMs: null, refreshedMs: null, unsettled: 0 })], ms(20))).toEqual([]);
  });

  test.each<[string, Partial<Claim>, object]>([
    ['goes back', { seenMs: ms(9), settledMs: null }, { kind: 'went backwards', column: 'seenMs' }],
    ['is withdrawn', { refreshedMs: null }, { kind: 'went backwards', column: 'refreshedMs' }],
    ['lies ahead', { seenMs: ms(21) }, { kind: 'in the future', column: 'seenMs' }],
    ['is settled beyond what was seen', { settledMs: ms(11) }, { kind: 'contradiction', column: 'settledMs' }],
    ['has nothing unsettled and is not settled', { unsettled: 0 }, { kind: 'contradiction', column: 'unsettled' }],
    ['counts no parked ones, and there are', { hasParked: true }, { kind: 'contradiction', column: 'parked' }],
    ['counts parked ones, and there are none', { parked: 1 }, { kind: 'contradiction', column: 'parked' }],
    ['counts no hidden ones, and there are', { hasHidden: true }, { kind: 'contradiction', column: 'hidden' }],
  ])('one that %s is false', (_, given, fault) => {
    expect(judgedClaims(claim(given))).toMatchObject([{ module: 'Leads', ...fault }]);
  });
});

test('a history with a gap is refused', () => {
  const history = new History();
  history.add([{ ...edited(1, 'One'), seq: 1 }]);
  expect(() => history.add([{ ...edited(2, 'Two'), seq: 3 }])).toThrow('goes on at 3 after 1');
  expect(history.of('Leads').get('1')).toHaveLength(1);
});
