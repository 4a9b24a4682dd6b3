import { coverageOf, defineModule, leads, type ModuleDefinition } from '@lockstep/modules';
import { coverage } from '@lockstep/record-log';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';

import { declared, deleted, Fixture, idOf, lead, seen, type Values } from '../testing.ts';
import { verifyModule } from '../verify-module.ts';
import { applyMapping, type AppliedMapping } from './apply-mapping.ts';
import { type MappingPlan, planMapping } from './plan-mapping.ts';

let fixture: Fixture;

beforeEach(async () => {
  fixture = await Fixture.open();
});
afterEach(() => fixture.close());

const plan = (module: ModuleDefinition): Promise<MappingPlan> => planMapping(fixture.deps, fixture.projection(module), { topic: fixture.topic.name });
const apply = (module: ModuleDefinition): Promise<AppliedMapping> => applyMapping(fixture.deps, fixture.projection(module), { topic: fixture.topic.name });
const rows = (): Promise<Record<string, unknown>[]> => fixture.sql('select * from leads order by id');
const changed = (before: readonly Record<string, unknown>[], after: readonly Record<string, unknown>[]): Record<string, number> => {
  const counts: Record<string, number> = {};
  for (const [i, row] of after.entries()) for (const [column, value] of Object.entries(row)) if (JSON.stringify(value) !== JSON.stringify(before[i]?.[column] ?? null)) counts[column] = (counts[column] ?? 0) + 1;
  return counts;
};

const without = (...columns: string[]): ModuleDefinition => defineModule({ ...leads, fields: leads.fields.filter(({ column }) => !columns.includes(column)), alsoLogged: leads.fields.filter(({ column }) => columns.includes(column)).map(({ field, kind }) => ({ field, kind })) });
const withField = (column: string, more: object): ModuleDefinition => defineModule({ ...leads, fields: leads.fields.map((one) => (one.column === column ? { ...one, ...more } : one)) });
const COUNT = 600;
const leadsSeen = (module: ModuleDefinition, from = 0, more: Values = {}) => Array.from({ length: COUNT }, (_, n) => seen(n + from, lead(n, { Fax: n % 3 === 0 ? null : `+49 ${n}`, ...more }), { modified: n, module }));

describe('a field that was logged without a column', () => {
  const before = without('fax');

  beforeEach(async () => {
    await fixture.publish([...declared(coverageOf(before)), ...leadsSeen(before), ...Array.from({ length: 10 }, (_, n) => deleted(n, 5_000))]);
    await fixture.project(before);
  });

  test('fills its column once it is mapped, as was planned, and nothing else changes', async () => {
    const stood = await rows();
    const planned = await plan(leads);
    expect(planned).toMatchObject({ isKnown: true, isChange: true, rows: 400, columns: { fax: 400 }, unfit: [], missing: [], faults: [], added: 0, removed: 0, changes: [{ column: 'fax', change: 'mapped' }] });
    expect(planned.found[0]).toEqual({ id: idOf(1), values: [{ column: 'fax', inTable: null, byLog: '+49 1', partition: expect.any(Number) as unknown, offset: fixture.offsetOf(idOf(1)) }] });
    expect(await rows()).toEqual(stood);
    expect(await apply(leads)).toMatchObject({ rows: 400, left: [], unfit: [], isComplete: true, proof: { counts: {} } });
    expect(changed(stood, await rows())).toEqual(planned.columns);
    expect(await fixture.sql('select fax from leads where id = $1', [idOf(4)])).toEqual([{ fax: '+49 4' }]);
    expect(await plan(leads)).toMatchObject({ isChange: false, rows: 0 });
  });

  test('is shown with the statement that adds its column where the table has none', async () => {
    await fixture.sql('alter table leads drop column fax');
    const planned = await plan(leads);
    expect(planned).toMatchObject({ rows: 400, columns: { fax: 400 }, missing: [{ column: 'fax', from: null, to: 'text', ddl: 'alter table "public"."leads" add column "fax" text' }], faults: [] });
    await expect(apply(leads)).rejects.toThrow(/column fax does not exist/);
    expect(await fixture.sql('select fingerprint from lockstep.mapping')).toEqual([{ fingerprint: fixture.projection(before).fingerprint }]);
    for (const { ddl } of planned.missing) await fixture.sql(ddl);
    expect(await apply(leads)).toMatchObject({ rows: 400, proof: { counts: {} } });
  });

  test('takes the newest content that speaks of it', async () => {
    const small = coverage(['Last_Name', 'City']);
    await fixture.publish([...declared(small), seen(4, { Last_Name: 'Renamed', City: 'Oslo' }, { modified: 9_000, covered: small }), seen(5, lead(5, { Fax: 'newer' }), { modified: 9_000, module: before })]);
    await fixture.project(before);
    expect(await apply(leads)).toMatchObject({ proof: { counts: {} } });
    expect(await fixture.sql('select fax, city from leads where id = any($1::bigint[]) order by id', [[idOf(4), idOf(5)]])).toEqual([{ fax: '+49 4', city: 'Oslo' }, { fax: 'newer', city: null }]);
  });

  test('stands for the same content that is read again under another coverage', async () => {
    await fixture.publish([...declared(coverageOf(leads)), ...Array.from({ length: COUNT }, (_, n) => seen(n, lead(n, { Fax: n % 3 === 0 ? null : `+49 ${n}` }), { modified: n, observed: 9_000 }))]);
    await fixture.project(before);
    expect(await apply(leads)).toMatchObject({ rows: 400, proof: { counts: {} } });
  });

  test('is filled where a projector of the new mapping has begun before', async () => {
    await fixture.publish([...declared(coverageOf(leads)), seen(4, lead(4, { Fax: 'by the new one' }), { modified: 9_000 })]);
    await fixture.project(leads);
    expect(await plan(leads)).toMatchObject({ isChange: true, rows: 399 });
    expect(await apply(leads)).toMatchObject({ rows: 399, proof: { counts: {} } });
    expect(await fixture.sql('select fax from leads where id = $1', [idOf(4)])).toEqual([{ fax: 'by the new one' }]);
  });

  test('is filled again where it was not mapped for a while', async () => {
    await apply(leads);
    await fixture.project(before);
    await fixture.publish([seen(4, lead(4, { Fax: 'while it was not mapped' }), { modified: 9_000, module: before })]);
    await fixture.project(before);
    expect(await plan(leads)).toMatchObject({ rows: 1, columns: { fax: 1 }, found: [{ id: idOf(4) }] });
    expect(await apply(leads)).toMatchObject({ rows: 1, proof: { counts: {} } });
  });
});

describe('a table that is filled', () => {
  beforeEach(async () => {
    await fixture.publish([...declared(coverageOf(leads)), ...leadsSeen(leads), ...Array.from({ length: 10 }, (_, n) => deleted(n, 5_000))]);
    await fixture.project();
  });

  test('fills the column that a field is mapped to instead, and leaves the former one as it stands', async () => {
    await fixture.sql('alter table leads add column telefax text');
    const renamed = withField('fax', { column: 'telefax' });
    const stood = await rows();
    const planned = await plan(renamed);
    expect(planned).toMatchObject({ rows: 400, columns: { telefax: 400 }, changes: [{ column: 'telefax', change: 'mapped' }, { column: 'fax', change: 'unmapped' }] });
    await apply(renamed);
    expect(changed(stood, await rows())).toEqual({ telefax: 400 });
    expect(await fixture.sql('select count(*)::int as n from leads where fax is not distinct from telefax')).toEqual([{ n: COUNT }]);
  });

  test('lists the values that a shorter type would not hold, with place and cause, and leaves their rows', async () => {
    await fixture.publish([seen(7, lead(7, { Designation: 'A name of more than twenty characters', Fax: '+49 7' }), { modified: 9_000 })]);
    await fixture.project();
    const shorter = withField('designation', { type: 'varchar(20)' });
    const planned = await plan(shorter);
    expect(planned).toMatchObject({ rows: 0, unfitCount: 1, retyped: [{ column: 'designation', from: 'text', to: 'varchar(20)', ddl: 'alter table "public"."leads" alter column "designation" type varchar(20)' }] });
    expect(planned.unfit).toEqual([{ id: idOf(7), partition: expect.any(Number) as unknown, offset: fixture.offsetOf(idOf(7), 'twenty'), cause: expect.stringMatching(/^designation: value too long for type character varying\(20\)/) as unknown }]);
    await fixture.sql(`alter table leads alter column designation type varchar(20) using left(designation, 20)`);
    expect(await apply(shorter)).toMatchObject({ rows: 0, unfit: [{ id: idOf(7) }], proof: { counts: { 'content does not fit': 1 } } });
    expect(await fixture.sql('select designation from leads where id = $1', [idOf(7)])).toEqual([{ designation: 'A name of more than ' }]);
  });

  test('loses the rows of the deleted where they are no longer marked, and gets them back', async () => {
    const removing = defineModule({ ...leads, onDelete: { action: 'remove' } });
    const stood = await rows();
    expect(await plan(removing)).toMatchObject({ removed: 10, added: 0, isChange: true, onDelete: { from: { action: 'mark' }, to: { action: 'remove' } } });
    expect(await apply(removing)).toMatchObject({ rows: 10, isComplete: true, proof: { counts: {} } });
    expect(await rows()).toHaveLength(COUNT - 10);
    expect(await plan(leads)).toMatchObject({ removed: 0, added: 10 });
    expect(await apply(leads)).toMatchObject({ rows: 10, isComplete: true, proof: { counts: {} } });
    expect(await rows()).toEqual(stood);
  });

  test('gets what was parked and fits by the new mapping alone', async () => {
    await fixture.publish([seen(7, lead(7, { Annual_Revenue: '10.125', Fax: 'parked' }), { modified: 9_000 }), seen(8, lead(8, { Annual_Revenue: 'many' }), { modified: 9_000 })]);
    await fixture.project();
    const rounding = withField('annual_revenue', { onExcessScale: 'round' });
    expect(await plan(rounding)).toMatchObject({ parked: 2, rows: 0, changes: [{ column: 'annual_revenue', change: 'changed' }] });
    expect(await apply(rounding)).toMatchObject({ parked: { tried: 2, resolved: 1 }, proof: { counts: {} } });
    expect(await fixture.sql('select annual_revenue, fax from leads where id = $1', [idOf(7)])).toEqual([{ annual_revenue: '10.13', fax: 'parked' }]);
    expect(await fixture.sql('select record_id, retryable, value from lockstep.parked where resolved_at is null')).toEqual([{ record_id: idOf(8), retryable: false, value: expect.any(Buffer) as unknown }]);
    expect((await verifyModule(fixture.deps, fixture.projection(rounding), { topic: fixture.topic.name })).counts).toEqual({});
  });

  test('names what the stricter policy would not take any more', async () => {
    const rounding = withField('annual_revenue', { onExcessScale: 'round' });
    await apply(rounding);
    await fixture.publish([seen(7, lead(7, { Annual_Revenue: '10.125' }), { modified: 9_000 })]);
    await fixture.project(rounding);
    expect(await plan(leads)).toMatchObject({ rows: 0, unfit: [{ id: idOf(7), cause: expect.stringContaining('annual_revenue') as unknown }] });
  });

  test('is compared as a whole where it is not known what it was filled by', async () => {
    await fixture.sql('update lockstep.mapping set complete = null');
    await fixture.sql(`update leads set fax = 'by hand' where id = $1`, [idOf(3)]);
    const other = withField('company', { refersTo: undefined, type: 'text' });
    expect(await plan(other)).toMatchObject({ isKnown: false, rows: 1, columns: expect.objectContaining({ fax: 1, company: 0 }) as unknown });
    expect(await apply(other)).toMatchObject({ rows: 1, isComplete: true, proof: { counts: {} } });
  });

  test('keeps the mapping where the table does not fit, with every fault', async () => {
    const wrong = withField('fax', { column: 'company_no', type: 'text' });
    expect(await plan(wrong)).toMatchObject({ missing: [{ column: 'company_no' }] });
    await fixture.sql('alter table leads alter column rating type money using null');
    expect(await plan(wrong)).toMatchObject({ faults: [expect.stringContaining('column rating is money') as unknown] });
    await expect(apply(wrong)).rejects.toMatchObject({ code: 'TABLE_UNFIT' });
  });
});
