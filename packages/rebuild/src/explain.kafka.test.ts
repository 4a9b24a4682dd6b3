import { coverageOf, leads } from '@lockstep/modules';
import { coverage, encodeConfirmed } from '@lockstep/record-log';
import { afterEach, beforeEach, expect, test } from 'vitest';

import { type Explanation, explainRecord } from './explain-record.ts';
import { declared, deleted, Fixture, idOf, lead, partOf, seen, START_MS } from './testing.ts';

let fixture: Fixture;

beforeEach(async () => {
  fixture = await Fixture.open();
  await fixture.publish(declared(coverageOf(leads)));
});
afterEach(() => fixture.close());

const explain = (n: number): Promise<Explanation> => explainRecord(fixture.deps, fixture.projection(), idOf(n), fixture.topic.name);

test('each column has the message that its value came from, by coverage', async () => {
  const small = coverage(['Last_Name', 'City']);
  await fixture.publish([...declared(small), seen(1, lead(1), { modified: 10 }), seen(2, lead(2)), seen(1, { Last_Name: 'Renamed', City: 'Oslo' }, { modified: 20, covered: small }), seen(1, lead(1, { City: 'Outdated' }), { modified: 5 })]);
  await fixture.project();
  const { row, history, notYetApplied } = await explain(1);
  expect(history.map(({ outcome }) => outcome)).toEqual(['won', 'won', 'outdated']);
  expect(notYetApplied).toBe(0);
  const of = (column: string) => row?.find((one) => one.column === column);
  const place = { partition: partOf(idOf(1)), origin: '' };
  expect(of('company')).toEqual({ column: 'company', inTable: 'Ada & Söhne\t\\', from: { field: 'Company', ...place, offset: fixture.offsetOf(idOf(1)), value: 'Ada & Söhne\t\\' } });
  expect(of('city')).toEqual({ column: 'city', inTable: 'Oslo', from: { field: 'City', ...place, offset: fixture.offsetOf(idOf(1), 'Renamed'), value: 'Oslo' } });
  expect(of('modified_time')).toMatchObject({ from: null });
});

test('what is parked, hidden, deleted, in doubt or not yet applied is said', async () => {
  const first = seen(3, lead(3), { modified: 10 });
  await fixture.publish([
    first,
    { id: first.id, value: encodeConfirmed({ id: first.id, modifiedMs: START_MS + 10_000, observedMs: START_MS + 900_000, hash: first.hash }) },
    seen(3, lead(3, { Annual_Revenue: '1.001' }), { modified: 2_000 }),
    seen(4, lead(4), { modified: 10 }),
    deleted(4, 20),
  ]);
  await fixture.project();
  await fixture.sql('update lockstep.record_version set hidden_since = now() where record_id = $1', [idOf(3)]);
  await fixture.sql(`insert into lockstep.look_wanted (module, record_id, reason) values ('Leads', $1, 'unconfirmed')`, [idOf(3)]);
  await fixture.publish([seen(3, lead(3), { modified: 3_000 })]);
  const three = await explain(3);
  expect(three.history.map(({ outcome }) => outcome)).toEqual(['won', 'confirmed', 'parked']);
  expect(three).toMatchObject({ isAlive: true, isSettled: true, hiddenSince: expect.any(String) as unknown, lookWanted: 'unconfirmed', notYetApplied: 1 });
  expect(three.parked).toEqual([expect.objectContaining({ offset: fixture.offsetOf(idOf(3), '1.001'), code: 'VALUE_NOT_EXACT', cause: expect.stringContaining('annual_revenue') as unknown, isWaiting: false })]);
  expect(await explain(4)).toMatchObject({ isAlive: false, isSettled: false, row: expect.any(Array) as unknown });
  // Resolved without having been applied, it still counts for nothing.
  await fixture.sql('update lockstep.parked set resolved_at = now()');
  const later = await explain(3);
  expect(later.history.map(({ outcome }) => outcome)).toEqual(['won', 'confirmed', 'parked']);
  expect(later.parked).toMatchObject([{ isOpen: false }]);
  expect(await explain(99)).toMatchObject({ history: [], row: null, parked: [] });
});
