import { Violation, Watch } from '../invariants.ts';
import { simulatedModules } from '../modules.ts';
import type { Refusal } from '../refusals.ts';
import { World } from '../world.ts';
import { probed } from './standing-faults.ts';

/** A day's end. `rows`: what stands in a table, or, where a table is a history that is trimmed after weeks, what the day added to it. */
export type DayEnd = { readonly day: number; readonly heapMb: number; readonly credits: number; readonly rows: Readonly<Record<string, number>> };
export type Week = { readonly days: readonly DayEnd[]; readonly equalAfterMinutes: number };

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;
const DAYS = 7;
const EQUAL_WITHIN_MINUTES = 24 * 60;

/**
 * Lives a week in which nine faults stand, with rounds up to three minutes and catch-ups half an hour apart; lifts them, and waits until all is equal.
 * @param collect collects garbage, so that the heap is what is held.
 * @throws {Violation} when freshness claims what is not there, or the tables do not equal the CRM a day after the lifting.
 */
export async function liveWeek(seed: number, collect: () => void): Promise<Week> {
  const world = new World({ seed, modules: simulatedModules, records: 30, paceMs: 3 * MINUTE_MS, catchUpIntervalMs: 30 * MINUTE_MS, restoreScanEveryMs: 6 * HOUR_MS, refreshEveryMs: 2 * 24 * HOUR_MS });
  const watch = new Watch(world);
  for (const id of world.crm.records.ids('Deals')) world.crm.records.edit('Deals', [id], { Main_Product: null });
  world.startAll();
  await world.time.advance(2 * HOUR_MS);
  for (const refusal of refusalsOf(world)) world.crm.refusals.begin(refusal);
  const days: DayEnd[] = [];
  const counted = new Map<string, number>();
  await rowsOf(world, counted);
  for (let day = 1; day <= DAYS; day += 1) {
    await liveDay(world, watch, day);
    collect();
    const credits = since(counted, 'credits', world.crm.counts.credits);
    days.push({ day, heapMb: Math.round(process.memoryUsage().heapUsed / 100_000) / 10, credits, rows: await rowsOf(world, counted) });
  }
  world.crm.refusals.lift();
  return { days, equalAfterMinutes: await equal(world, watch) };
}

function refusalsOf({ crm }: World): readonly Refusal[] {
  const [[lead = '', other = ''], [deal = '', locked = '']] = [crm.records.ids('Leads'), crm.records.ids('Deals')];
  return [
    { kind: 'jobs', module: 'Products' },
    { kind: 'channel', module: 'Products' },
    { kind: 'server', module: 'Leads', id: lead },
    { kind: 'row', module: 'Leads', id: other },
    { kind: 'field', module: 'Leads', field: 'Lead_Score' },
    { kind: 'scan', module: 'Leads' },
    { kind: 'time', module: 'Deals', id: deal },
    { kind: 'locked', module: 'Deals', id: locked },
    { kind: 'list-endless', module: 'Deals' },
  ];
}

/** Every ten minutes some record of each module is edited, and every six hours one that a fault may touch. */
async function liveDay(world: World, watch: Watch, day: number): Promise<void> {
  const { crm, random, time } = world;
  for (let minute = 0; minute < 24 * 60; minute += 10) {
    for (const module of simulatedModules) {
      const ids = crm.records.ids(module.apiName);
      const id = ids[minute % 360 === 0 ? random.below(2) : 2 + random.below(ids.length - 2)] ?? '';
      crm.edit(module.apiName, [id], { [probed[module.apiName] ?? '']: `Day ${day}, minute ${minute}` });
      watch.changed(module, id);
    }
    await time.advance(10 * MINUTE_MS);
    watch.check();
  }
}

async function rowsOf({ runs, catchUps, incidents, watermarks, looksAside, fieldsMissing, tables }: World, counted: Map<string, number>): Promise<Record<string, number>> {
  const names = simulatedModules.map(({ apiName }) => apiName);
  const sum = (count: (module: string) => number): number => names.reduce((total, module) => total + count(module), 0);
  const added = (table: string, rows: number): number => since(counted, table, rows);
  return {
    'catch_up, added': added('catch_up', catchUps.rows().length),
    'bulk_run, added': added('bulk_run', runs.rows().length),
    'incident, added': added('incident', (await incidents.list({ all: true, limit: 1e9 })).length),
    'watermark, added': added('watermark', sum((module) => watermarks.claims(module, 'changes').length)),
    'bulk_page, open': (await runs.openPages()).length,
    'incident, open': (await incidents.list()).length,
    look_aside: looksAside.size(),
    field_missing: sum((module) => fieldsMissing.of(module).length),
    'parked, added': added('parked', sum((module) => tables.projection.parked(module).length)),
    record_version: sum((module) => tables.records(module).size),
  };
}

function since(counted: Map<string, number>, name: string, now: number): number {
  const before = counted.get(name) ?? 0;
  counted.set(name, now);
  return now - before;
}

async function equal(world: World, watch: Watch): Promise<number> {
  for (let minutes = 10; ; minutes += 10) {
    await world.time.advance(10 * MINUTE_MS);
    try {
      watch.checkEquality('a week of faults that stood');
      return minutes;
    } catch (error) {
      if (!(error instanceof Violation) || minutes >= EQUAL_WITHIN_MINUTES) throw error;
    }
  }
}
