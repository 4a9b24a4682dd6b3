import type { Untouched, Watched } from '@lockstep/harness';
import { expect, test } from 'vitest';

import { problemsOfDemo, problemsOfPermanent, problemsOfStorm } from './verdict.ts';

const untouched: Untouched = { tables: 10, rows: 500, values: 2_000, differences: 0, examples: [] };
const comparison = { rows: 6_000, values: 250_000, mismatches: 0, examples: [], untouched };
const notificationToRow = { count: 400, p50Ms: 60, p99Ms: 200, maxMs: 300, missing: 0 };
const freshness: Watched = { watchedMs: 90_000, samples: 80, leastSamples: 18, whileDown: {}, failed: {}, hasLast: true, covered: 300, unclaimed: [], falseClaimCount: 0, falseClaims: [] };
const demo = { ...comparison, notificationToRow, edits: 400 };
const storm = { ...comparison, freshness };
const permanent = { ...comparison, others: notificationToRow, left: { parked: 0, incidents: [] } };

test('a run in which everything was compared and is right has no problem', () => {
  expect([problemsOfDemo(demo), problemsOfStorm(storm), problemsOfPermanent(permanent)]).toEqual([[], [], []]);
});

test.each<[string, Partial<typeof storm>]>([
  ['no row', { rows: 0 }],
  ['a mismatch', { mismatches: 1 }],
  ['a foreign value that was changed', { untouched: { ...untouched, differences: 1 } }],
  ['nothing foreign to compare', { untouched: { ...untouched, values: 0 } }],
  ['no sample of freshness', { freshness: { ...freshness, samples: 0 } }],
  ['a swallowed error', { freshness: { ...freshness, failed: { '42P01': 1 } } }],
  ['a false claim', { freshness: { ...freshness, falseClaimCount: 1 } }],
])('%s fails a storm', (_, given) => {
  expect(problemsOfStorm({ ...storm, ...given })).toHaveLength(1);
});

test.each<[string, object]>([
  ['no snapshot', { untouched: null }],
  ['an edit that never arrived', { notificationToRow: { ...notificationToRow, missing: 1 } }],
  ['no edit that was measured', { notificationToRow: { ...notificationToRow, count: 0 } }],
])('%s fails the demo', (_, given) => {
  expect(problemsOfDemo({ ...demo, ...given })).toHaveLength(1);
});

test.each<[string, Partial<typeof permanent>]>([
  ['a mismatch', { mismatches: 1 }],
  ['a change of another record that never arrived', { others: { ...notificationToRow, missing: 1 } }],
  ['changes of other records that were late', { others: { ...notificationToRow, p99Ms: 1_001 } }],
  ['no change of another record', { others: { ...notificationToRow, count: 0 } }],
  ['a message that is still parked', { left: { parked: 1, incidents: [] } }],
])('%s fails permanent faults', (_, given) => {
  expect(problemsOfPermanent({ ...permanent, ...given })).toHaveLength(1);
});
