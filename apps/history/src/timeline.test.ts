import { fieldsOfRegister } from '@lockstep/consumer';
import { compareVersions, contentHash, emptyRegister, isAlive, merge, type Register, versionTime } from '@lockstep/record-log';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';

import { type Statement, timeline, type Valid } from './timeline.ts';

const EPSILON_MS = 60_000;
const second = (n: number): number => 1_700_000_000_000 + n * 1000;

type Sight = { readonly modified: number; readonly observed?: number; readonly stage: string | null; readonly isSmall?: boolean; readonly version?: number };

function seen({ modified, observed = modified, stage, isSmall = false, version }: Sight): Statement {
  const [coverage, fields] = isSmall ? ['small', { Stage: stage }] : ['whole', { Stage: stage, Amount: `${modified}` }];
  const hash = contentHash(coverage, JSON.stringify(Object.values(fields)));
  return { version: { modifiedMs: second(modified), observedMs: second(observed), hash, ...(version === undefined ? {} : { versionMs: second(version) }) }, coverage, fields };
}

const deleted = (n: number): number => second(n) + 999;
/** What a history says, in seconds: from, to, and the stage. */
const spans = (valid: readonly Valid[]): unknown[] => valid.map(({ fromMs, toMs, fields }) => [(fromMs - second(0)) / 1000, toMs === null ? null : (toMs - second(0)) / 1000, fields['Stage']]);

describe('the history of a record', () => {
  test('has each version from its modified time to that of the next', () => {
    expect(spans(timeline([seen({ modified: 0, stage: 'A' }), seen({ modified: 100, stage: 'B' }), seen({ modified: 300, stage: 'C' })], [], EPSILON_MS))).toEqual([[0, 100, 'A'], [100, 300, 'B'], [300, null, 'C']]);
  });

  test('has one of two contents with the same modified time: the one that was seen later', () => {
    expect(spans(timeline([seen({ modified: 0, observed: 9, stage: 'later' }), seen({ modified: 0, observed: 1, stage: 'earlier' })], [], EPSILON_MS))).toEqual([[0, null, 'later']]);
  });

  test('ends with a deletion, and goes on with a restoration from the look that found it', () => {
    const [first, again] = [seen({ modified: 0, stage: 'A' }), seen({ modified: 0, observed: 900, stage: 'A' })];
    expect(spans(timeline([first], [deleted(100)], EPSILON_MS))).toEqual([[0, 100.999, 'A']]);
    expect(spans(timeline([first, again], [deleted(100)], EPSILON_MS))).toEqual([[0, 100.999, 'A'], [900, null, 'A']]);
    expect(spans(timeline([again], [deleted(100)], EPSILON_MS))).toEqual([[0, 100.999, 'A'], [900, null, 'A']]);
    expect(spans(timeline([first, seen({ modified: 500, stage: 'B' })], [deleted(100)], EPSILON_MS))).toEqual([[0, 100.999, 'A'], [500, null, 'B']]);
  });

  test('is not revived by a look that is in doubt', () => {
    expect(spans(timeline([seen({ modified: 0, stage: 'A' }), seen({ modified: 0, observed: 150, stage: 'A' })], [deleted(100)], EPSILON_MS))).toEqual([[0, 100.999, 'A']]);
  });

  test('keeps what a smaller coverage does not speak about, also where that was seen later', () => {
    const valid = timeline([seen({ modified: 100, stage: 'B', isSmall: true }), seen({ modified: 0, stage: 'A' })], [], EPSILON_MS);
    expect(valid.map(({ fields }) => fields)).toEqual([{ Stage: 'A', Amount: '0' }, { Stage: 'B', Amount: '0' }]);
  });

  test('has a repair at the time it competes with, and shows its own', () => {
    expect(timeline([seen({ modified: 100, stage: 'A' }), seen({ modified: 50, version: 200, observed: 300, stage: 'B' })], [], EPSILON_MS)).toMatchObject([
      { fromMs: second(100), toMs: second(200), modifiedMs: second(100) },
      { fromMs: second(200), toMs: null, modifiedMs: second(50) },
    ]);
  });
});

const statements = fc.array(fc.record({ modified: fc.nat({ max: 300 }), late: fc.nat({ max: 300 }), stage: fc.constantFrom('A', 'B', null), isSmall: fc.boolean(), ahead: fc.constantFrom(undefined, undefined, 10) }).map(({ modified, late, stage, isSmall, ahead }) =>
  seen({ modified, observed: modified + late, stage, isSmall, ...(ahead === undefined ? {} : { version: modified + ahead }) })), { maxLength: 8 });
const deletions = fc.array(fc.nat({ max: 500 }).map(deleted), { maxLength: 3 });

/** Contents in the order of their versions, and deletions. */
const folded = (contents: readonly Statement[], dead: readonly number[]): Register => {
  const register = contents.toSorted((a, b) => compareVersions(a.version, b.version)).reduce<Register>((before, { version, coverage, fields }) => merge(before, { live: version, content: { coverage, fields: Object.values(fields) } }), emptyRegister);
  return dead.reduce((before, deletedMs) => merge(before, { deletedMs }), register);
};
const fieldsOf = (coverage: string): readonly string[] => (coverage === 'small' ? ['Stage'] : ['Stage', 'Amount']);
const stateOf = (register: Register): unknown => (isAlive(register, EPSILON_MS) ? fieldsOfRegister(register, fieldsOf) : null);
const asOf = (valid: readonly Valid[], ms: number): unknown => valid.find(({ fromMs, toMs }) => fromMs <= ms && (toMs === null || toMs > ms))?.fields ?? null;

describe('of any statements', () => {
  test('the order in which they come, and how often, does not matter', () => {
    fc.assert(fc.property(statements, deletions, (contents, dead) => {
      expect(timeline([...contents.toReversed(), ...contents], [...dead.toReversed(), ...dead], EPSILON_MS)).toEqual(timeline(contents, dead, EPSILON_MS));
    }));
  });

  test('times follow each other without overlapping, and the last one is the fold of all', () => {
    fc.assert(fc.property(statements, deletions, (contents, dead) => {
      const valid = timeline(contents, dead, EPSILON_MS);
      const bounds = valid.flatMap(({ fromMs, toMs }) => [fromMs, toMs ?? Number.POSITIVE_INFINITY]);
      expect(bounds).toEqual(bounds.toSorted((a, b) => a - b));
      expect(valid.every(({ fromMs, toMs }) => toMs === null || fromMs < toMs)).toBe(true);
      expect(asOf(valid, second(100_000))).toEqual(stateOf(folded(contents, dead)));
    }), { numRuns: 1_000 });
  });

  test('without deletions it is, at any time, the fold of the contents up to then, in the order of their versions', () => {
    fc.assert(fc.property(statements, fc.nat({ max: 320 }).map(second), (contents, ms) => {
      expect(asOf(timeline(contents, [], EPSILON_MS), ms)).toEqual(stateOf(folded(contents.filter(({ version }) => versionTime(version) <= ms), [])));
    }), { numRuns: 1_000 });
  });

  test('no record exists at the end of the second of its deletion', () => {
    fc.assert(fc.property(statements, deletions, (contents, dead) => {
      const valid = timeline(contents, dead, EPSILON_MS);
      for (const deletedMs of dead) expect(asOf(valid, deletedMs)).toBe(null);
    }), { numRuns: 1_000 });
  });
});
