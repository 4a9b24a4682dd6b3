import { contentHash, encodeConfirmed, encodeDeleted, encodeSeen, fold, type Observation } from '@lockstep/record-log';
import fc from 'fast-check';
import { expect, test } from 'vitest';

import { idHasher, isInSlice, type Slice, WHOLE } from './id-hash.ts';
import { PartitionFold } from './partition-fold.ts';
import type { RecordTable } from './record-table.ts';

const EPSILON_MS = 500;
const START_MS = 1_700_000_000_000;
const COVERAGE = '0123abcd';
const ids = ['7', '123456789', '1000000000', '5725767000000000001', '5725767001000000000', '9999999999999999999'];

const times = { id: fc.constantFrom(...ids), modifiedMs: fc.nat({ max: 4 }).map((n) => START_MS + n * 1000), observedMs: fc.nat({ max: 40 }).map((n) => START_MS + n * 250) };
const seen = fc.record({ ...times, name: fc.constantFrom('A', 'B') }).map(({ name, ...of }) => ({ ...of, coverage: COVERAGE, fields: [name] }));
const message: fc.Arbitrary<{ readonly value: string; readonly observation: Observation }> = fc.oneof(
  seen.map((of) => ({ value: encodeSeen(of).value, observation: { type: 'RecordSeen', ...of, hash: contentHash(COVERAGE, JSON.stringify(of.fields)) } }) as const),
  seen.map(({ id, modifiedMs, observedMs, fields }) => ({ id, modifiedMs, observedMs, hash: contentHash(COVERAGE, JSON.stringify(fields)) })).map((of) => ({ value: encodeConfirmed(of), observation: { type: 'RecordConfirmed', ...of } }) as const),
  fc.record({ id: times.id, deletedMs: times.observedMs }).map((of) => ({ value: encodeDeleted(of), observation: { type: 'RecordDeleted', ...of } }) as const),
);

const hasher = idHasher(7);
const foldOf = (slice: Slice, atMost: number): PartitionFold =>
  new PartitionFold({ epsilonMs: EPSILON_MS, keepsDeleted: true, hasher, covers: () => true, onCoverage: () => undefined, onContent: () => undefined, atMost }, slice);

/** Every record with its register, folded in as many readings as it takes. */
function readings(messages: readonly { readonly value: string }[], atMost: number): { readonly found: Map<string, unknown>; readonly most: number } {
  const found = new Map<string, unknown>();
  const pending: Slice[] = [WHOLE];
  let most = 0;
  for (let slice = pending.pop(); slice !== undefined; slice = pending.pop()) {
    const folding = foldOf(slice, atMost);
    for (const [offset, { value }] of messages.entries()) {
      folding.observe({ offset, value: Buffer.from(value) });
      most = Math.max(most, folding.records.size);
    }
    for (let slot = 0; slot < folding.records.size; slot += 1) {
      expect(found.has(folding.records.idOf(slot))).toBe(false);
      found.set(folding.records.idOf(slot), registerIn(folding.records, slot));
    }
    pending.push(...folding.left);
  }
  return { found, most };
}

const known = (value: number | undefined): number | undefined => (Number.isNaN(value) ? undefined : value);

const registerIn = (records: RecordTable, slot: number): unknown => ({ modifiedMs: known(records.modifiedMs[slot]), observedMs: known(records.observedMs[slot]), deletedMs: known(records.deletedMs[slot]) });

test('a partition folds to what record-log says of each record, in one reading or, where few records are kept at once, in several', () => {
  fc.assert(fc.property(fc.array(message, { maxLength: 40 }), fc.integer({ min: 1, max: 3 }), (messages, atMost) => {
    const observed = Map.groupBy(messages.map(({ observation }) => observation), (one) => (one as { id: string }).id);
    const expected = new Map([...observed].map(([id, some]) => {
      const { live, deletedMs } = fold(some, EPSILON_MS);
      return [id, { modifiedMs: live?.modifiedMs, observedMs: live?.observedMs, deletedMs }] as const;
    }).filter(([, { modifiedMs, deletedMs }]) => modifiedMs !== undefined || deletedMs !== undefined));
    expect(readings(messages, 1_000).found).toEqual(expected);
    const sliced = readings(messages, atMost);
    expect(sliced.found).toEqual(expected);
    expect(sliced.most).toBeLessThanOrEqual(atMost);
  }));
});

test('the halves of a slice part its ids', () => {
  fc.assert(fc.property(fc.nat({ max: 2 ** 32 - 1 }), fc.integer({ min: 0, max: 31 }), (hash, bits) => {
    const value = bits === 0 ? 0 : hash >>> (32 - bits);
    expect(isInSlice({ bits, value }, hash)).toBe(true);
    const inHalves = [value * 2, value * 2 + 1].filter((half) => isInSlice({ bits: bits + 1, value: half }, hash));
    expect(inHalves).toHaveLength(1);
  }));
});
