import { describe, expect, test } from 'vitest';

import { Watch } from './invariants.ts';
import { simulatedDeals, simulatedLeads } from './modules.ts';
import type { Refusal } from './refusals.ts';
import { Rest } from './rest.ts';
import { World } from './world.ts';

const MINUTE_MS = 60_000;

/** Leads and Deals in a world where one thing about the Leads is refused, before or after the first load. */
async function refused(refusalOf: (id: string) => Refusal, isLoaded: boolean): Promise<{ world: World; watch: Watch; id: string; rest: (minutes: number) => Promise<void> }> {
  const world = new World({ seed: 3, modules: [simulatedLeads, simulatedDeals], records: 8, paceMs: 4_000, restoreScanEveryMs: 20 * MINUTE_MS });
  const watch = new Watch(world);
  const [id = ''] = world.crm.records.ids('Leads');
  const rest = async (minutes: number): Promise<void> => {
    for (let passed = 0; passed < minutes; passed += 1) {
      await world.time.advance(MINUTE_MS);
      watch.check();
    }
  };
  if (!isLoaded) world.crm.refusals.begin(refusalOf(id));
  world.startAll();
  await rest(15);
  if (isLoaded) world.crm.refusals.begin(refusalOf(id));
  return { world, watch, id, rest };
}

/** Edits a record of a module. */
function edit(world: World, watch: Watch, module: typeof simulatedLeads, id: string, fields: Readonly<Record<string, unknown>>): void {
  world.crm.edit(module.apiName, [id], fields);
  watch.changed(module, id);
}

const isKnown = (world: World, module: typeof simulatedLeads): number => world.tables.freshness(module).seenUpTo?.getTime() ?? 0;

describe('what the CRM refuses for good', () => {
  test('jobs: the other module stays as fresh as ever, nothing is claimed of this one, and it heals without a restart', async () => {
    const { world, watch, id, rest } = await refused(() => ({ kind: 'jobs', module: 'Leads' }), false);
    const [deal = ''] = world.crm.records.ids('Deals');
    const refusedAtMs = world.time.now();
    edit(world, watch, simulatedLeads, id, { Company: 'Unread' });
    edit(world, watch, simulatedDeals, deal, { Deal_Name: 'Read' });
    await rest(30);
    expect(isKnown(world, simulatedLeads)).toBeLessThan(refusedAtMs);
    expect(isKnown(world, simulatedDeals)).toBeGreaterThan(refusedAtMs);
    watch.checkEquality('half an hour of refusals', { modules: new Set(['Leads']), records: new Set() });
    world.crm.refusals.lift();
    const { deaths } = world.counts;
    await new Rest(world, watch).caughtUp();
    expect([isKnown(world, simulatedLeads) > refusedAtMs, world.counts.deaths]).toEqual([true, deaths]);
  });

  test.each([['after', true], ['before', false]])('a field, %s the load: the module goes on without it, and what was missed is read once it is back', async (_, isLoaded) => {
    const { world, watch, id, rest } = await refused(() => ({ kind: 'field', module: 'Leads', field: 'Lead_Score' }), isLoaded);
    const refusedAtMs = world.time.now();
    edit(world, watch, simulatedLeads, id, { Company: 'Read', Lead_Score: 77 });
    await rest(30);
    const [company, , score] = world.tables.record('Leads', id)?.content?.fields ?? [];
    expect([company, String(score) === '77', isKnown(world, simulatedLeads) > refusedAtMs]).toEqual(['Read', false, true]);
    world.crm.refusals.lift();
    await new Rest(world, watch).caughtUp();
    expect(world.counts.deaths).toBe(0);
  });

  test('a deleted list that fails at its eleventh page: deletions are not claimed, and are right once it can be read', async () => {
    const { world, watch, rest } = await refused(() => ({ kind: 'list', module: 'Leads' }), true);
    const gone = world.crm.records.ids('Leads').slice(0, 6);
    for (const id of gone) {
      world.crm.delete('Leads', id);
      watch.changed(simulatedLeads, id);
    }
    await rest(30);
    watch.checkEquality('half an hour of refusals', { modules: new Set(['Leads']), records: new Set() });
    world.crm.refusals.lift();
    await new Rest(world, watch).caughtUp();
    expect(gone.map((id) => world.tables.isShown('Leads', id))).toEqual(gone.map(() => false));
  });

  test.each(['look', 'time'] as const)('one record whose look never reads (%s): it is read by the catch-up, and the rest with it', async (kind) => {
    const { world, watch, id, rest } = await refused((one) => ({ kind, module: 'Leads', id: one }), true);
    for (const one of world.crm.records.ids('Leads')) edit(world, watch, simulatedLeads, one, { Company: `Of ${one}` });
    await rest(30);
    expect(world.tables.record('Leads', id)?.content?.fields[0]).toBe(`Of ${id}`);
    watch.checkEquality('half an hour of refusals');
    world.crm.refusals.lift();
    await new Rest(world, watch).caughtUp();
  });
});
