import { type Coverage, contentHash, type Observation, type RecordRepaired, type RecordSeen } from '@lockstep/record-log';
import fc from 'fast-check';

import type { LogMessage } from '../fold-batch.ts';
import { encoded, recordId } from '../testing.ts';

export const PARTITIONS = 3;
const START_MS = 1_700_000_000_000;

type Full = RecordSeen | RecordRepaired;

/** What a generated step does to a record; a confirmation may take up what the history holds of the record so far. */
type Step = (id: string, history: readonly Observation[]) => Observation;

/** One log: each event's partition is its record's. */
export type History = readonly { readonly partition: number; readonly observation: Observation }[];

// Few seconds and contents, so that every kind of tie comes up.
const modifiedMs = fc.nat({ max: 5 }).map((n) => START_MS + n * 1000);
const observedMs = fc.nat({ max: 40 }).map((n) => START_MS + n * 250);

/** Contents under any of these coverages, repairs of them, confirmations right and wrong, deletions listed once and again. */
function steps(coverages: readonly Coverage[]): fc.Arbitrary<Step> {
  const content = fc.record({ modifiedMs, observedMs, covered: fc.constantFrom(...coverages), text: fc.constantFrom('A', 'B', 'C') });
  const seen = content.map(({ covered, text, ...times }) => (id: string): RecordSeen => {
    const fields = covered.fields.map((field) => (/^(Last_Name|Product_Name|Company|City)$/.test(field) ? `${field} ${text}` : null));
    return { type: 'RecordSeen', id, ...times, coverage: covered.id, fields, hash: contentHash(covered.id, JSON.stringify(fields)) };
  });
  const repaired = fc.tuple(seen, fc.nat({ max: 2 })).map(([see, ahead]) => (id: string): RecordRepaired => {
    const one = see(id);
    return { ...one, type: 'RecordRepaired', versionMs: one.modifiedMs + ahead * 1000 };
  });
  const confirmed = fc.tuple(seen, fc.nat(), observedMs, fc.nat({ max: 4 })).map(([see, which, at, dice]): Step => (id, history) => {
    const known = history.filter((one): one is Full => one.id === id && (one.type === 'RecordSeen' || one.type === 'RecordRepaired'));
    // One in five confirms what no one has seen.
    const { modifiedMs: modified, versionMs, hash } = (dice === 0 ? undefined : known[which % Math.max(known.length, 1)]) ?? see(id);
    return { type: 'RecordConfirmed', id, modifiedMs: modified, ...(versionMs === undefined ? {} : { versionMs }), observedMs: at, hash };
  });
  const deleted = fc.tuple(observedMs, fc.option(fc.nat({ max: 20 }), { nil: undefined })).map(([ms, after]): Step => (id) => ({
    type: 'RecordDeleted', id, deletedMs: ms - (ms % 1000), ...(after === undefined ? {} : { listedMs: ms + after * 250 }),
  }));
  return fc.oneof({ weight: 4, arbitrary: seen }, { weight: 1, arbitrary: repaired }, { weight: 3, arbitrary: confirmed }, { weight: 2, arbitrary: deleted });
}

/** A log, and where it is cut into batches. */
export type CutLog = { readonly history: History; readonly cuts: readonly number[] };

function historyOf(events: readonly (readonly [n: number, step: Step])[]): History {
  const observations: Observation[] = [];
  return events.map(([n, step]) => {
    const observation = step(recordId(n), observations);
    observations.push(observation);
    return { partition: n % PARTITIONS, observation };
  });
}

const cutsUpTo = (events: number): fc.Arbitrary<readonly number[]> => fc.array(fc.nat({ max: events }), { maxLength: 5 }).map((cuts) => cuts.toSorted((a, b) => a - b));

/** Few records, about which much is said, cut anywhere. */
export function shortLogs(coverages: readonly Coverage[]): fc.Arbitrary<CutLog> {
  const events = fc.array(fc.tuple(fc.integer({ min: 1, max: 4 }), steps(coverages)), { minLength: 1, maxLength: 40 });
  return fc.record({ history: events.map(historyOf), cuts: cutsUpTo(40) });
}

/** Rounds in which each of many records occurs once; cut after each round or near it, so that there are batches of 50 records and more. */
export function longLogs(coverages: readonly Coverage[]): fc.Arbitrary<CutLog> {
  // Most of a round is under one coverage, so that its winners are enough for a COPY of their own.
  const most = fc.constantFrom(...coverages).chain((main) => fc.array(steps([main, main, main, main, ...coverages]), { minLength: 170, maxLength: 170 }));
  const round = fc.tuple(fc.integer({ min: 140, max: 170 }), most);
  return fc.record({ rounds: fc.array(round, { minLength: 2, maxLength: 3 }), shift: fc.integer({ min: -5, max: 5 }) }).map(({ rounds, shift }) => {
    const history = historyOf(rounds.flatMap(([records, all]) => all.slice(0, records).map((step, i) => [((i * 37) % records) + 1, step] as const)));
    let end = 0;
    const ends = rounds.map(([records]) => (end += records));
    return { history, cuts: ends.map((at) => Math.max(0, at + shift)) };
  });
}

/** A log as batches of messages: every partition begins at offset 0. */
export function batchesOf({ history, cuts }: CutLog): LogMessage[][] {
  const ends = new Map<number, number>();
  const messages = history.map(({ partition, observation }): LogMessage => {
    const offset = ends.get(partition) ?? 0;
    ends.set(partition, offset + 1);
    return { partition, offset, value: Buffer.from(encoded(observation)) };
  });
  const edges = [0, ...cuts.map((cut) => Math.min(cut, messages.length)), messages.length];
  return edges.slice(1).map((end, i) => messages.slice(edges[i], end)).filter(({ length }) => length > 0);
}
