import { expect, test } from 'vitest';

import { Watch } from './invariants.ts';
import { simulatedModules, simulatedProducts } from './modules.ts';
import { World, type WorldOptions } from './world.ts';

const MINUTE_MS = 60_000;

/** Leads, Deals and Products, loaded. */
async function loaded(options: Partial<WorldOptions> = {}): Promise<{ world: World; watch: Watch; rest: (minutes: number) => Promise<void> }> {
  const world = new World({ seed: 5, modules: simulatedModules, records: 6, paceMs: 2_000, ...options });
  const watch = new Watch(world);
  world.startAll();
  await world.time.advance(20 * MINUTE_MS);
  const rest = async (minutes: number): Promise<void> => {
    for (let passed = 0; passed < minutes; passed += 1) {
      await world.time.advance(MINUTE_MS);
      watch.check();
    }
  };
  return { world, watch, rest };
}

const targetOf = (world: World, deal: string): unknown => world.tables.record('Deals', deal)?.content?.fields[1] ?? null;

test('a merge moves no Modified_Time of the Deals that pointed to the loser: they are looked at, and the loser leaves the table', async () => {
  const { world, watch, rest } = await loaded();
  const [deal = ''] = world.crm.records.ids('Deals');
  const [loser = '', master = ''] = world.crm.records.ids('Products');
  world.crm.edit('Deals', [deal], { Main_Product: loser });
  await rest(5);
  expect(targetOf(world, deal)).toBe(loser);
  const before = world.crm.records.truth('Deals', deal)?.modifiedMs;
  world.crm.merge('Products', loser, master, false);
  expect(world.crm.records.truth('Deals', deal)?.modifiedMs).toBe(before);
  await rest(5);
  expect([targetOf(world, deal), world.tables.hasRow('Products', loser), world.tables.freshness(simulatedProducts).parked]).toEqual([master, false, 0]);
  watch.checkEquality('a merge');
});

test('a Deal that points to a Product of the same moment is right, whichever comes first', async () => {
  const { world, watch, rest } = await loaded({ catchUpIntervalMs: 30 * MINUTE_MS });
  const [deal = ''] = world.crm.records.ids('Deals');
  // Only the catch-up finds the Product, minutes after the look at the Deal.
  const product = world.crm.create('Products', { Product_Name: 'New', Product_Code: null }, false);
  world.crm.edit('Deals', [deal], { Main_Product: product });
  await rest(1);
  expect([targetOf(world, deal), world.tables.projection.parked('Deals').map(({ id }) => id)]).toEqual([null, [deal]]);
  await rest(30);
  expect(targetOf(world, deal)).toBe(product);
  watch.checkEquality('a while');
});

test('a Deal that waits for a Product which is merged away meanwhile is looked at again, and points to the one that is left', async () => {
  const { world, watch, rest } = await loaded();
  const [deal = ''] = world.crm.records.ids('Deals');
  const [master = ''] = world.crm.records.ids('Products');
  // It waits itself, for its name.
  const loser = world.crm.create('Products', { Product_Name: world.crm.records.truth('Products', master)?.value('Product_Name'), Product_Code: null });
  world.crm.edit('Deals', [deal], { Main_Product: loser });
  // No catch-up reads so far back any more.
  await rest(180);
  expect(new Set(world.tables.projection.parked('Deals').map(({ id }) => id))).toEqual(new Set([deal]));
  world.crm.merge('Products', loser, master, false);
  await rest(10);
  expect([targetOf(world, deal), world.tables.projection.parked('Deals')]).toEqual([master, []]);
  watch.checkEquality('a merge');
});

test('two projectors hand a partition back and forth in the middle of batches: nothing is skipped or applied twice', async () => {
  const { world, watch, rest } = await loaded();
  for (let turn = 0; turn < 60; turn += 1) {
    const ids = world.crm.records.ids('Leads');
    world.crm.edit('Leads', [ids[turn % ids.length] ?? ''], { Company: `Company ${turn}` });
    world.rebalance();
    await world.time.advance(900);
    watch.check();
  }
  expect(world.met.all['zombie-fenced'].quiet + world.met.all['zombie-fenced']['catch-up']).toBeGreaterThan(0);
  await rest(6);
  watch.checkEquality('a while');
});
