import { contentHash, fold, type Observation } from '@lockstep/record-log';
import fc from 'fast-check';
import { expect, test } from 'vitest';

import { historyOf, type LoggedEvent } from './record-history.ts';

const EPSILON_MS = 500;
const START_MS = 1_700_000_000_000;
const id = '5725767000000000001';

const times = { modifiedMs: fc.nat({ max: 4 }).map((n) => START_MS + n * 1000), observedMs: fc.nat({ max: 40 }).map((n) => START_MS + n * 250) };
const content = fc.record({ ...times, name: fc.constantFrom('A', 'B') }).map(({ name, ...of }) => ({ ...of, id, hash: contentHash('c', JSON.stringify([name])), coverage: 'c', fields: [name] }));
const observation: fc.Arbitrary<Observation> = fc.oneof(
  content.map((of): Observation => ({ type: 'RecordSeen', ...of })),
  content.map((of): Observation => ({ type: 'RecordRepaired', ...of, versionMs: of.modifiedMs + 1000 })),
  content.map(({ modifiedMs, observedMs, hash }): Observation => ({ type: 'RecordConfirmed', id, modifiedMs, observedMs, hash })),
  times.observedMs.map((ms): Observation => ({ type: 'RecordDeleted', id, deletedMs: ms - (ms % 1000) })),
);
const logged = (event: Observation | null, offset: number): LoggedEvent => ({ partition: 0, offset, appendedMs: offset, origin: 'look', reading: 'hint of update 0/1', event });

test('the messages that counted, alone, fold to what all of them do', () => {
  fc.assert(fc.property(fc.array(observation, { maxLength: 14 }), (observations) => {
    const history = historyOf(observations.map(logged), { epsilonMs: EPSILON_MS, parked: new Set() });
    const whole = fold(observations, EPSILON_MS);
    expect(history.at(-1)?.register ?? {}).toEqual(whole);
    const counted = history.filter(({ outcome }) => ['won', 'confirmed', 'deleted'].includes(outcome)).map(({ event }) => event as Observation);
    expect(fold(counted, EPSILON_MS)).toEqual(whole);
    const won = history.findLast(({ outcome }) => outcome === 'won')?.event;
    expect(won === undefined ? undefined : (won as { fields: unknown }).fields).toEqual(whole.content?.fields);
  }));
});

test('what is parked, or no event, counts for nothing', () => {
  fc.assert(fc.property(fc.array(observation, { minLength: 1, maxLength: 10 }), fc.nat(), (observations, which) => {
    const at = which % observations.length;
    const history = historyOf([...observations.map(logged), logged(null, observations.length)], { epsilonMs: EPSILON_MS, parked: new Set([at]) });
    expect(history[at]?.outcome).toBe('parked');
    expect(history.at(-1)?.outcome).toBe('parked');
    expect(history.at(-1)?.register).toEqual(fold(observations.filter((_, i) => i !== at), EPSILON_MS));
  }));
});

test('a content is outdated, or a tie; a confirmation of another content does not count', () => {
  const seen: Observation = { type: 'RecordSeen', id, modifiedMs: START_MS, observedMs: START_MS, hash: 'a'.repeat(32), coverage: 'c', fields: ['A'] };
  const events: Observation[] = [seen, seen, { ...seen, modifiedMs: START_MS - 1000 }, { type: 'RecordConfirmed', id, modifiedMs: START_MS, observedMs: START_MS + 5, hash: 'b'.repeat(32) }, { type: 'RecordConfirmed', id, modifiedMs: START_MS, observedMs: START_MS + 5, hash: seen.hash }];
  expect(historyOf(events.map(logged), { epsilonMs: EPSILON_MS, parked: new Set() }).map(({ outcome }) => outcome)).toEqual(['won', 'tie', 'outdated', 'not confirmed', 'confirmed']);
});
