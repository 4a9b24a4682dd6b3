import type { ModuleDefinition } from '@lockstep/modules';
import type { FieldValue } from '@lockstep/record-log';
import fc from 'fast-check';

import { simulatedDeals, simulatedProducts } from '../modules.ts';
import { Logs, type TablesUnderTest } from './conflicts-contract.ts';

/* Histories of a few Products and Deals, in which everything may conflict on its way into the tables, and nothing does in the end. */

type Fields = Readonly<Record<string, FieldValue>>;
type Step = { readonly module: ModuleDefinition; readonly id: string; readonly second: number; readonly fields: Fields | null };
type Rows = readonly (readonly [id: string, values: readonly FieldValue[]])[];

/** What the log holds, in the order in which it arrives, and what the CRM holds in the end. */
export type History = { readonly steps: readonly Step[]; readonly rows: { readonly Deals: Rows; readonly Products: Rows } };

const PRODUCTS = ['1', '2', '3'];
const DEALS = ['71', '72'];

/** What people do: give a Product some code, swap two codes, let a Deal point somewhere, merge one Product into another. */
const act = fc.oneof(
  fc.record({ kind: fc.constant('code' as const), product: fc.constantFrom(...PRODUCTS), code: fc.constantFrom('x', 'y', 'z', null) }),
  fc.record({ kind: fc.constant('swap' as const), product: fc.constantFrom(...PRODUCTS), other: fc.constantFrom(...PRODUCTS) }),
  fc.record({ kind: fc.constant('point' as const), deal: fc.constantFrom(...DEALS), product: fc.constantFrom(...PRODUCTS, null) }),
  fc.record({ kind: fc.constant('merge' as const), product: fc.constantFrom(...PRODUCTS), other: fc.constantFrom(...PRODUCTS) }),
);
type Act = typeof act extends fc.Arbitrary<infer T> ? T : never;

class Organisation {
  readonly steps: Step[] = [];
  readonly codes = new Map<string, string | null>();
  readonly targets = new Map<string, string | null>();
  #second = 0;

  constructor() {
    for (const id of PRODUCTS) this.#code(id, null);
    for (const id of DEALS) this.#point(id, null);
  }

  do(one: Act): void {
    this.#second += 1;
    switch (one.kind) {
      case 'code':
        if (this.codes.has(one.product) && (one.code === null || ![...this.codes.values()].includes(one.code))) this.#code(one.product, one.code);
        return;
      case 'swap':
        return this.#swap(one.product, one.other);
      case 'point':
        if (one.product === null || this.codes.has(one.product)) this.#point(one.deal, one.product);
        return;
      case 'merge':
        return this.#merge(one.product, one.other);
    }
  }

  #swap(a: string, b: string): void {
    const [codeOfA, codeOfB] = [this.codes.get(a), this.codes.get(b)];
    if (a === b || codeOfA === undefined || codeOfB === undefined) return;
    this.#code(a, codeOfB);
    this.#code(b, codeOfA);
  }

  #merge(loser: string, master: string): void {
    if (loser === master || !this.codes.has(loser) || !this.codes.has(master)) return;
    for (const [deal, target] of this.targets) if (target === loser) this.#point(deal, master);
    this.codes.delete(loser);
    this.steps.push({ module: simulatedProducts, id: loser, second: this.#second, fields: null });
  }

  #code(id: string, code: string | null): void {
    this.codes.set(id, code);
    this.steps.push({ module: simulatedProducts, id, second: this.#second, fields: { Product_Name: `Product ${id}`, Product_Code: code } });
  }

  #point(id: string, target: string | null): void {
    this.targets.set(id, target);
    this.steps.push({ module: simulatedDeals, id, second: this.#second, fields: { Deal_Name: `Deal ${id}`, Stage: 'Open', Main_Product: target } });
  }
}

function historyOf(acts: readonly Act[], weights: readonly number[]): History {
  const organisation = new Organisation();
  for (const one of acts) organisation.do(one);
  const { steps, codes, targets } = organisation;
  const isLast = (at: number): boolean => !steps.slice(at + 1).some(({ id }) => id === steps[at]?.id);
  const weightOf = (at: number): number => (weights[at % weights.length] ?? 0) + at / 1_000;
  // Looks may be missed, but not the last one at a record.
  const logged = steps.flatMap((step, at) => (isLast(at) || (weights[at % weights.length] ?? 0) % 3 > 0 ? [{ step, weight: weightOf(at) }] : []));
  return {
    steps: logged.toSorted((a, b) => a.weight - b.weight).map(({ step }) => step),
    rows: {
      Deals: DEALS.map((id) => [id, [`Deal ${id}`, targets.get(id) ?? null, 'Open', null]] as const),
      Products: PRODUCTS.filter((id) => codes.has(id)).map((id) => [id, [`Product ${id}`, codes.get(id) ?? null]] as const),
    },
  };
}

const given = [fc.array(act, { maxLength: 10 }), fc.array(fc.nat({ max: 99 }), { minLength: 5, maxLength: 40 })] as const;

/** Histories whose messages arrive in any order. */
export const histories: fc.Arbitrary<History> = fc.tuple(...given).map(([acts, weights]) => historyOf(acts, weights)).filter((history) => !mayRingAcrossTables(history));

/**
 * Whether a Product may wait for a code of a removed one, that removal for a Deal that points to it, and the Deal for the Product: what waits in a
 * ring across two tables is not resolved, and is reported as parked (see the README of projection).
 */
function mayRingAcrossTables({ steps }: History): boolean {
  const valuesOf = (of: string, field: string): Set<FieldValue> => new Set(steps.flatMap(({ id, fields }) => (id === of && fields !== null && fields[field] !== null ? [fields[field] as FieldValue] : [])));
  return steps.filter(({ fields }) => fields === null).some(({ id: removed }) => {
    const codes = valuesOf(removed, 'Product_Code');
    const takers = PRODUCTS.filter((id) => id !== removed && [...valuesOf(id, 'Product_Code')].some((code) => codes.has(code)));
    return DEALS.some((deal) => valuesOf(deal, 'Main_Product').has(removed) && takers.some((taker) => valuesOf(deal, 'Main_Product').has(taker)));
  });
}

const clock = (second: number): string => `10:${String(Math.floor(second / 60)).padStart(2, '0')}:${String(second % 60).padStart(2, '0')}`;

/** Applies a history one message a batch, with a round of what waits now and then. @returns what the tables come to. */
export async function endOf(tables: TablesUnderTest, { steps }: History) {
  await tables.clear();
  const logs = new Logs();
  for (const [at, { module, id, second, fields }] of steps.entries()) {
    // Each act is minutes after the one before: a look is clearly before the next deletion, and no look is much later than another.
    const message = fields === null ? logs.deleted(module, id, clock(second)) : logs.seen(module, { id, modified: clock(second), observed: clock(second), fields });
    await tables.project(module, [message]);
    if (at % 5 === 4) await tables.resolve(1);
  }
  await tables.resolve();
  const rowsOf = async (module: ModuleDefinition): Promise<Rows> => (await tables.rows(module)).map(({ id, values }) => [id, values] as const);
  return { rows: { Deals: await rowsOf(simulatedDeals), Products: await rowsOf(simulatedProducts) }, parked: [...(await tables.parked(simulatedDeals)), ...(await tables.parked(simulatedProducts))] };
}
