import { coverageOf, leads, type ModuleDefinition, products } from '@lockstep/modules';
import { type Coverage, coverage, encodeConfirmed, encodeDeleted, encodeRepaired, encodeSeen, type FieldValue } from '@lockstep/record-log';
import fc from 'fast-check';
import { expect, test } from 'vitest';

import { applyMapping } from './plan/apply-mapping.ts';
import { rebuildModule } from './rebuild-module.ts';
import { declared, Fixture, idOf, lead, type LogEvent, START_MS } from './testing.ts';
import { verifyModule } from './verify-module.ts';

/** A module under test: the coverages its log speaks under, a text column that all of them speak of, one that some do not, and the values of its fields. */
type Subject = { readonly module: ModuleDefinition; readonly coverages: readonly Coverage[]; readonly column: string; readonly added: string; readonly values: (n: number, text: string | null, revenue: string | null) => Record<string, FieldValue> };

const ofLeads: Subject = {
  module: leads,
  coverages: [coverageOf(leads), coverage(['Last_Name', 'Company']), coverage(['City', 'Gone_Field', 'Last_Name']), coverage(['City', 'Last_Name', 'Annual_Revenue'])],
  column: 'last_name',
  added: 'company',
  values: (n, text, revenue) => ({ ...lead(n), City: text, Company: text === null ? null : `${text} & Co`, Annual_Revenue: revenue }),
};
const ofProducts: Subject = {
  module: products,
  coverages: [coverageOf(products), coverage(['Product_Name', 'Manufacturer']), coverage(['Product_Name', 'Unit_Price'])],
  column: 'product_name',
  added: 'manufacturer',
  values: (n, text, revenue) => ({ Product_Name: `Product ${n}`, Manufacturer: text, Unit_Price: revenue }),
};

// Few seconds, records and contents, so that every kind of tie comes up. One amount in four does not fit its column.
const times = { n: fc.nat({ max: 7 }), modifiedMs: fc.nat({ max: 6 }).map((s) => START_MS + s * 1000), observedMs: fc.nat({ max: 400 }).map((s) => START_MS + s * 1000) };
type Sighting = Parameters<typeof encodeSeen>[0];

const sightings = ({ coverages, values }: Subject): fc.Arbitrary<Sighting> =>
  fc.record({ ...times, covered: fc.constantFrom(...coverages), text: fc.constantFrom('A', 'B', null), revenue: fc.constantFrom('1', '2.5', null, '1.001') }).map(({ n, modifiedMs, observedMs, covered, text, revenue }) => {
    const all = values(n, text, revenue);
    return { id: idOf(n), modifiedMs, observedMs, coverage: covered.id, fields: covered.fields.map((field) => all[field] ?? null) };
  });

type Step = (before: readonly (Sighting & { readonly hash: string; readonly versionMs?: number })[]) => { readonly value: string; readonly seen?: Sighting & { readonly hash: string; readonly versionMs?: number } } & { readonly id: string };
const stepsOf = (subject: Subject): fc.Arbitrary<Step> => fc.oneof(
  { weight: 6, arbitrary: sightings(subject).map((sighting): Step => () => {
    const { value, hash } = encodeSeen(sighting);
    return { id: sighting.id, value, seen: { ...sighting, hash } };
  }) },
  { weight: 1, arbitrary: fc.tuple(sightings(subject), fc.nat({ max: 2 })).map(([drawn, ahead]): Step => () => {
    const sighting = { ...drawn, versionMs: drawn.modifiedMs + ahead * 1000 };
    const { value, hash } = encodeRepaired(sighting);
    return { id: sighting.id, value, seen: { ...sighting, hash } };
  }) },
  { weight: 2, arbitrary: fc.tuple(fc.nat(), times.observedMs, sightings(subject)).map(([which, observedMs, drawn]): Step => (before) => {
    const { id, modifiedMs, hash, versionMs } = before[which % Math.max(1, before.length)] ?? { ...drawn, hash: 'f'.repeat(32), versionMs: undefined };
    return { id, value: encodeConfirmed({ id, modifiedMs, observedMs, hash, ...(versionMs === undefined ? {} : { versionMs }) }) };
  }) },
  { weight: 2, arbitrary: fc.record({ n: times.n, at: times.observedMs, listed: fc.option(times.observedMs, { nil: undefined }) }).map(({ n, at, listed }): Step => () => ({
    id: idOf(n), value: encodeDeleted({ id: idOf(n), deletedMs: at, ...(listed === undefined ? {} : { listedMs: listed }) }),
  })) },
);

function eventsOf(drawn: readonly Step[]): LogEvent[] {
  const seen: (Sighting & { readonly hash: string })[] = [];
  return drawn.map((step) => {
    const { id, value, seen: one } = step(seen);
    if (one !== undefined) seen.push(one);
    return { id, value };
  });
}

/**
 * Rows and register, but for what the register says of the content of removed records: where a batch ends decides whether a content is tried that is deleted right
 * behind it, and so whether it is parked.
 */
const settled = ({ onDelete }: ModuleDefinition, [rows, register]: readonly [unknown[], Record<string, unknown>[]]) => {
  const isRemoved = ({ deleted_ms: deleted, observed_ms: observed }: Record<string, unknown>): boolean => onDelete.action === 'remove' && deleted !== null && !(observed !== null && Number(observed) > Number(deleted) + 60_000);
  return [rows, register.map((entry) => (isRemoved(entry) ? { record_id: entry['record_id'], deleted_ms: entry['deleted_ms'], listed_ms: entry['listed_ms'] } : entry))];
};

test.each([['Leads, whose deleted rows are marked', ofLeads], ['Products, whose deleted rows are removed', ofProducts]])('whatever the log of %s holds and however it is cut into batches, verify finds the projector right, rebuild makes right what was damaged or lost, and apply fills a column as the projector would', async (_, subject) => {
  const { module, coverages, column, added } = subject;
  const former = { ...module, fields: module.fields.filter((one) => one.column !== added) };
  const table = module.table.name;
  await fc.assert(fc.asyncProperty(fc.array(stepsOf(subject), { minLength: 1, maxLength: 80 }), fc.integer({ min: 1, max: 40 }), fc.nat(), async (drawn, size, damage) => {
    const fixture = await Fixture.open();
    try {
      await fixture.publish([...coverages.flatMap(declared), ...eventsOf(drawn)]);
      await fixture.project(module, size);
      const options = { topic: fixture.topic.name };
      const { found } = await verifyModule(fixture.deps, fixture.projection(module), options);
      expect(found).toEqual([]);
      const stand = () => Promise.all([fixture.sql(`select * from ${table} order by id`), fixture.sql('select * from lockstep.record_version order by record_id')]);
      const before = await stand();
      await fixture.sql(`update ${table} set ${column} = 'damaged' where id % 3 = ${damage % 3}`);
      await fixture.sql(`delete from ${table} where id % 4 = ${damage % 4}`);
      await fixture.sql(`delete from lockstep.record_version where record_id % 5 = ${damage % 5}`);
      const { after, left } = await rebuildModule(fixture.deps, fixture.projection(module), options);
      expect({ found: after.found, left }).toEqual({ found: [], left: [] });
      expect(await stand()).toEqual(before);
      await fixture.loseDatabase();
      const again = await rebuildModule(fixture.deps, fixture.projection(module), options);
      expect({ found: again.after.found, rows: again.rows }).toEqual({ found: [], rows: 0 });
      expect(settled(module, await stand())).toEqual(settled(module, before));
      await fixture.project(former);
      await fixture.sql(`update ${table} set ${added} = null`);
      expect(await applyMapping(fixture.deps, fixture.projection(module), options)).toMatchObject({ left: [], unfit: [], isComplete: true, proof: { counts: {} } });
      expect(settled(module, await stand())).toEqual(settled(module, before));
    } finally {
      await fixture.close();
    }
  }), { numRuns: 12, endOnFailure: true });
}, 180_000);
