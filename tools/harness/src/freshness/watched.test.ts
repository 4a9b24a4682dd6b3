import { expect, test } from 'vitest';

import type { FalseClaim } from './judge.ts';
import { leastSamplesIn, problemsOfWatch, Tally, type Watched } from './watched.ts';

const right: Watched = { watchedMs: 60_000, samples: 50, leastSamples: 12, whileDown: { ECONNREFUSED: 3 }, failed: {}, hasLast: true, covered: 100, unclaimed: [], falseClaimCount: 0, falseClaims: [] };

test('a watch that took its samples and found nothing is a proof', () => {
  expect(problemsOfWatch(right)).toEqual([]);
});

test.each<[string, Partial<Watched>, RegExp]>([
  ['no sample', { samples: 0 }, /read 0 times in 60 s; 12 times at least/],
  ['too few samples', { samples: 11 }, /read 11 times in 60 s; 12 times at least/],
  ['an error that no kill explains', { failed: { '42P01': 1 } }, /1 by 42P01/],
  ['no last sample', { hasLast: false }, /at the end/],
  ['no change that was covered', { covered: 0 }, /proves nothing/],
  ['a module without a claim', { unclaimed: ['Deals'] }, /Deals/],
  ['a false claim', { falseClaimCount: 1 }, /1 false claims/],
])('%s is a problem', (_, given, expected) => {
  expect(problemsOfWatch({ ...right, ...given })).toEqual([expect.stringMatching(expected)]);
});

test('an empty series is every problem at once', () => {
  const watched = new Tally(() => 0).watched(['Leads']);
  expect(problemsOfWatch(watched)).toHaveLength(4);
});

test('samples are expected once in five seconds at least, without the time that the database was down', () => {
  expect([leastSamplesIn(100_000, 0), leastSamplesIn(100_000, 50_000), leastSamplesIn(0, 0), leastSamplesIn(1_000, 5_000)]).toEqual([20, 10, 1, 1]);
});

test('failures are counted by their code, those of an outage apart', () => {
  let now = 0;
  const tally = new Tally(() => now);
  const fail = (error: unknown, beganMs: number, endedMs: number): void => {
    now = endedMs;
    tally.failed(error, beganMs);
  };
  fail(Object.assign(new Error('refused'), { code: 'ECONNREFUSED' }), 0, 10);
  now = 100;
  const up = tally.down();
  fail(Object.assign(new Error('refused'), { code: 'ECONNREFUSED' }), 100, 110);
  now = 200;
  up();
  up();
  fail(Object.assign(new Error('ended'), { code: '57P01' }), 190, 210);
  fail(new Error('a reply that is no JSON'), 201, 220);
  tally.taken(5, []);
  expect(tally.watched([])).toMatchObject({ samples: 1, covered: 5, hasLast: true, failed: { ECONNREFUSED: 1, 'Error: a reply that is no JSON': 1 }, whileDown: { ECONNREFUSED: 1, '57P01': 1 } });
  fail(new Error('again'), 230, 240);
  expect(tally.watched([]).hasLast).toBe(false);
});

test('a false claim is reported once, and beyond the first ten counted', () => {
  const tally = new Tally(() => 0);
  const claims = Array.from({ length: 12 }, (_, id): FalseClaim => ({ kind: 'missing', module: 'Leads', claimedUpTo: 'now', id: String(id), changedAt: 'then' }));
  tally.taken(12, claims);
  tally.taken(12, claims);
  expect(tally.watched([])).toMatchObject({ falseClaimCount: 12, samples: 2 });
  expect(tally.watched([]).falseClaims).toHaveLength(10);
});
