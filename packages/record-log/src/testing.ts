import fc from 'fast-check';

import { contentHash } from './content-hash.ts';
import type { Observation, RecordConfirmed, RecordDeleted, RecordRepaired, RecordSeen } from './observation.ts';
import { observedAt } from './version.ts';

/** `10:05:00.250` of one fixed day, epoch milliseconds: a fixture's clock. */
export const time = (clock: string): number => Date.parse(`2026-03-02T${clock}Z`);

/** One record, seen with a `Modified_Time` by a look. */
export function seenAt({ modified, look: [lower, upper], name = 'Name' }: { modified: string; look: [string, string]; name?: string }): RecordSeen {
  const modifiedMs = time(modified);
  const fields = [name];
  return {
    type: 'RecordSeen',
    id: '5725767000000000001',
    modifiedMs,
    observedMs: observedAt({ lowerMs: time(lower), upperMs: time(upper) }, modifiedMs),
    hash: contentHash('c', JSON.stringify(fields)),
    coverage: 'c',
    fields,
  };
}

/** The same, competing with another time than its own. */
export const repairedAt = ({ version, ...sighting }: Parameters<typeof seenAt>[0] & { version: string }): RecordRepaired => ({ ...seenAt(sighting), type: 'RecordRepaired', versionMs: time(version) });

/** The same record, listed as deleted; by a call that began at a time. */
export const deletedAt = (clock: string, listed?: string): RecordDeleted => ({ type: 'RecordDeleted', id: '5725767000000000001', deletedMs: time(clock), ...(listed === undefined ? {} : { listedMs: time(listed) }) });

/** What was seen is confirmed by a look at a time. */
export const confirmedAt = ({ id, modifiedMs, versionMs, hash }: RecordSeen | RecordRepaired, look: string): RecordConfirmed => ({ type: 'RecordConfirmed', id, modifiedMs, ...(versionMs === undefined ? {} : { versionMs }), observedMs: time(look), hash });

// Few distinct seconds and contents, so that ties in every component are common.
const second = fc.nat({ max: 4 }).map((n) => 1_700_000_000_000 + n * 1000);
const observed = fc.nat({ max: 400 }).map((n) => 1_700_000_000_000 + n * 250);
const fields = fc.constantFrom(['A'], ['B'], ['C'], [null], [true]);
const identity = { id: fc.constant('1'), modifiedMs: second, observedMs: observed };

const seen = fc.record({ ...identity, fields }).map(({ fields, ...rest }): Observation => ({
  type: 'RecordSeen',
  ...rest,
  coverage: 'c',
  fields,
  hash: contentHash('c', JSON.stringify(fields)),
}));
const repaired = fc.record({ ...identity, fields, aheadMs: fc.nat({ max: 3 }).map((n) => n * 1000) }).map(({ fields, aheadMs, ...rest }): Observation => ({
  type: 'RecordRepaired',
  ...rest,
  versionMs: rest.modifiedMs + aheadMs,
  coverage: 'c',
  fields,
  hash: contentHash('c', JSON.stringify(fields)),
}));
const confirmed = fc.record({ ...identity, fields }).map(({ fields, ...rest }): Observation => ({
  type: 'RecordConfirmed',
  ...rest,
  hash: contentHash('c', JSON.stringify(fields)),
}));
const deleted = fc.tuple(observed, fc.option(fc.nat({ max: 400 }), { nil: undefined })).map(([ms, listed]): Observation => ({ type: 'RecordDeleted', id: '1', deletedMs: ms - (ms % 1000), ...(listed === undefined ? {} : { listedMs: ms + listed * 250 }) }));
const contentsAndDeletions = [{ weight: 4, arbitrary: seen }, { weight: 1, arbitrary: repaired }, { weight: 2, arbitrary: deleted }];

/** Contents and deletions of one record, in any order. */
export const statements = fc.array(fc.oneof(...contentsAndDeletions), { maxLength: 12 }) as fc.Arbitrary<Exclude<Observation, RecordConfirmed>[]>;

/** A look that confirms any content, right or not. */
export const confirmation = confirmed;

/** Any observations of one record. */
export const observations = fc.array(fc.oneof(...contentsAndDeletions, { weight: 2, arbitrary: confirmed }), { maxLength: 14 });
