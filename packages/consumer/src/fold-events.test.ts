import { coverage, decodeEvent, encodeConfirmed, encodeCoverage, encodeDeleted, encodeRepaired, encodeSeen, fold, isAlive, type Observation } from '@lockstep/record-log';
import fc from 'fast-check';
import { expect, test } from 'vitest';

import { fieldsOfRegister, type Known } from './change.ts';
import { decodeMessages, type LogMessage } from './decode.ts';
import type { ConsumedChange } from './definition.ts';
import { type Folded, foldEvents } from './fold-events.ts';

const EPSILON_MS = 60_000;
const START_MS = 1_700_000_000_000;
const [whole, small] = [coverage(['Stage', 'Amount']), coverage(['Stage'])];
const coverages = new Map([[whole.id, whole.fields], [small.id, small.fields]]);

// Few seconds, records and contents, so that every kind of tie comes up.
const times = { n: fc.nat({ max: 2 }), modifiedMs: fc.nat({ max: 4 }).map((s) => START_MS + s * 1000), observedMs: fc.nat({ max: 400 }).map((s) => START_MS + s * 1000) };
const sighting = fc.record({ ...times, covered: fc.constantFrom(whole, small), stage: fc.constantFrom('A', 'B', null) }).map(({ n, modifiedMs, observedMs, covered, stage }) => ({
  id: String(n + 1), modifiedMs, observedMs, coverage: covered.id, fields: covered.fields.map((field) => (field === 'Stage' ? stage : '1')),
}));
const values = fc.array(fc.oneof(
  { weight: 6, arbitrary: sighting.map((one) => encodeSeen(one).value) },
  { weight: 1, arbitrary: fc.tuple(sighting, fc.nat({ max: 2 })).map(([one, ahead]) => encodeRepaired({ ...one, versionMs: one.modifiedMs + ahead * 1000 }).value) },
  { weight: 2, arbitrary: fc.tuple(sighting, times.observedMs).map(([one, observedMs]) => encodeConfirmed({ ...one, observedMs, hash: encodeSeen(one).hash })) },
  { weight: 2, arbitrary: fc.record({ n: times.n, at: times.observedMs }).map(({ n, at }) => encodeDeleted({ id: String(n + 1), deletedMs: at })) },
), { maxLength: 40 });

const placeOf = ({ offset }: LogMessage): { topic: string; partition: number; offset: number } => ({ topic: 't', partition: 0, offset });

/** Folds texts in batches of a size. */
function inBatches(texts: readonly string[], size: number): { readonly changes: ConsumedChange[]; readonly known: Map<string, Known>; readonly folded: Folded[] } {
  const known = new Map<string, Known>();
  const folded: Folded[] = [];
  for (let from = 0; from < texts.length; from += size) {
    const messages = texts.slice(from, from + size).map((text, i) => ({ offset: from + i, value: Buffer.from(text) }));
    const one = foldEvents(decodeMessages(messages).events, { module: 'Deals', epsilonMs: EPSILON_MS, known, coverages, placeOf });
    for (const [id, after] of one.records) known.set(id, after);
    folded.push(one);
  }
  return { changes: folded.flatMap(({ changes }) => changes), known, folded };
}

test('whatever the log holds, batches change nothing, each change follows from the last, and the state ends as record-log folds it', () => {
  fc.assert(fc.property(values, fc.integer({ min: 1, max: 15 }), (texts, size) => {
    const { changes, known } = inBatches(texts, size);
    expect(changes).toEqual(inBatches(texts, texts.length + 1).changes);
    expect(new Set(changes.map(({ idempotencyKey }) => idempotencyKey)).size).toBe(changes.length);
    for (const id of ['1', '2', '3']) {
      const register = fold(texts.map(decodeEvent).filter((event): event is Observation => event.type !== 'CoverageDeclared' && event.id === id), EPSILON_MS);
      expect(known.get(id)?.register ?? {}).toEqual(register);
      const own = changes.filter((change) => change.id === id);
      const fieldsOf = (name: string): readonly string[] => coverages.get(name) ?? [];
      expect(own.at(-1)?.after ?? null).toEqual(isAlive(register, EPSILON_MS) ? fieldsOfRegister(register, fieldsOf) : null);
      for (const [at, { kind, before, after }] of own.entries()) {
        const last = own[at - 1];
        expect(kind).toBe(last === undefined ? 'created' : after === null ? 'deleted' : last.after === null ? 'restored' : 'changed');
        expect(before).toEqual(kind === 'changed' || kind === 'deleted' ? last?.after : before);
      }
    }
  }), { numRuns: 500 });
});

test('a log that is replayed over its own end changes nothing more', () => {
  fc.assert(fc.property(values, (texts) => {
    const contents = texts.filter((text) => text.includes('"seen"') && text.includes(whole.id));
    const once = inBatches(contents, 50).changes;
    expect(inBatches([...contents, ...contents], 50).changes).toEqual(once);
  }));
});

test('what is no event, and what names no coverage of the log, is set aside; a newer version ends the batch', () => {
  const seen = { id: '1', modifiedMs: START_MS, observedMs: START_MS };
  const texts = ['no JSON', encodeSeen({ ...seen, coverage: 'ffffffff', fields: ['A'] }).value, encodeSeen({ ...seen, coverage: whole.id, fields: ['A'] }).value, encodeCoverage({ coverage: 'ffffffff', fields: ['X'] }), '{"v":9}', 'never read'];
  const decoded = decodeMessages(texts.map((text, offset) => ({ offset, value: Buffer.from(text) })));
  const folded = foldEvents(decoded.events, { module: 'Deals', epsilonMs: EPSILON_MS, known: new Map(), coverages, placeOf });
  expect([...decoded.parked, ...folded.parked].map(({ message, code }) => [message.offset, code])).toEqual([[0, 'EVENT_MALFORMED'], [1, 'COVERAGE_UNKNOWN'], [2, 'EVENT_FIELDS_MALFORMED'], [3, 'COVERAGE_UNKNOWN']]);
  const [damaged] = decodeMessages([{ offset: 0, value: Buffer.concat([Buffer.from(encodeSeen({ ...seen, coverage: whole.id, fields: ['A', 'B'] }).value.slice(0, -6)), Buffer.from([0xff]), Buffer.from('","B"]}')]) }]).parked;
  expect(damaged).toMatchObject({ code: 'EVENT_MALFORMED', cause: 'no UTF-8' });
  expect(decoded.stop).toMatchObject({ offset: 4, error: { code: 'EVENT_VERSION_UNKNOWN' } });
});
