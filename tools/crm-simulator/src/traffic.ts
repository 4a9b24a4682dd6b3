import { catalogue } from './catalogue/catalogue.ts';
import { companies, firstNames, sentences } from './catalogue/pools.ts';
import { AdminError } from './errors.ts';
import type { TrafficOptions } from './options.ts';
import { type Random, seededRandom } from './random.ts';
import type { LiveRecord } from './store/live-record.ts';
import type { ModuleStore } from './store/module-store.ts';
import type { Organisation } from './store/organisation.ts';

const TICK_MS = 20;
/** Changes made in one turn at most, so that a stall is not followed by a flood. */
const MAX_PER_TICK = 200;

const kinds = ['edits', 'creates', 'deletes'] as const;
type Kind = (typeof kinds)[number];

/** Which fields the traffic touches, and with what. */
const edits: Readonly<Record<string, (random: Random) => Readonly<Record<string, unknown>>>> = {
  Leads: (r) => ({ Company: text(r, companies), Lead_Score: r.below(100), Annual_Revenue: r.below(100_000_000) / 100, Email_Opt_Out: r.below(2) === 0 }),
  Deals: (r) => ({ Amount: r.below(100_000_000) / 100, Probability: r.below(101), Description: text(r, sentences) }),
  Products: (r) => ({ Unit_Price: r.below(1_000_000) / 100, Qty_in_Stock: r.below(10_000), Manufacturer: text(r, companies) }),
};
const creations: Readonly<Record<string, (random: Random) => Readonly<Record<string, unknown>>>> = {
  Leads: (r) => ({ Company: text(r, companies), Last_Name: text(r, firstNames) }),
  Deals: (r) => ({ Deal_Name: text(r, companies), Stage: 'Qualification' }),
  Products: (r) => ({ Product_Name: text(r, companies) }),
};

const text = (random: Random, pool: readonly string[]): string => `${pool[random.below(pool.length)]} ~${random.below(1_000_000)}`;

/** Makes up edits, creations and deletions at a steady rate, until it is stopped. Real time, whatever the clock. */
export class Traffic {
  readonly #organisation: Organisation;
  #running: { readonly options: TrafficOptions; readonly timer: NodeJS.Timeout } | null = null;
  #totals: Record<Kind, number> = { edits: 0, creates: 0, deletes: 0 };

  constructor(organisation: Organisation) {
    this.#organisation = organisation;
  }

  /** Starts, or goes on with other rates. @throws {AdminError} `UNKNOWN_MODULE` */
  start(given: Partial<TrafficOptions>): void {
    this.stop();
    const modules = given.modules ?? catalogue.map((module) => module.apiName);
    const stores = modules.map((name) => this.#organisation.store(name));
    if (stores.length === 0) throw new AdminError(400, 'WRONG_REQUEST', 'traffic needs a module');
    const options: TrafficOptions = { editsPerSecond: 0, createsPerSecond: 0, deletesPerSecond: 0, seed: 1, ...given, modules };
    const random = seededRandom(options.seed);
    const due: Record<Kind, number> = { edits: 0, creates: 0, deletes: 0 };
    const rate: Record<Kind, number> = { edits: options.editsPerSecond, creates: options.createsPerSecond, deletes: options.deletesPerSecond };
    let last = performance.now();
    const timer = setInterval(() => {
      const now = performance.now();
      for (const kind of kinds) {
        due[kind] = Math.min(due[kind] + ((now - last) / 1000) * rate[kind], MAX_PER_TICK);
        for (; due[kind] >= 1; due[kind]--) this.#make(kind, stores, random);
      }
      last = now;
    }, TICK_MS);
    this.#running = { options, timer };
  }

  stop(): void {
    if (this.#running !== null) clearInterval(this.#running.timer);
    this.#running = null;
  }

  status() {
    return { running: this.#running !== null, options: this.#running?.options ?? null, totals: { ...this.#totals } };
  }

  #make(kind: Kind, stores: readonly ModuleStore[], random: Random): void {
    const fit = kind === 'creates' ? stores : stores.filter(({ liveCount }) => liveCount > 0);
    const store = fit[random.below(fit.length)];
    if (store === undefined) return;
    const name = store.module.apiName;
    if (kind === 'creates') {
      this.#organisation.create(name, creations[name]?.(random) ?? {}, true);
      this.#totals.creates++;
      return;
    }
    const record = anyRecord(store, random);
    if (record === undefined) return;
    if (kind === 'edits') this.#organisation.edit(name, [record.id], someOf(edits[name]?.(random) ?? {}, random));
    else this.#organisation.delete(name, record.id);
    this.#totals[kind]++;
  }
}

/** One of the fields, or several. */
function someOf(fields: Readonly<Record<string, unknown>>, random: Random): Readonly<Record<string, unknown>> {
  const entries = Object.entries(fields);
  return Object.fromEntries(entries.slice(random.below(entries.length)));
}

/** A live record by chance; after some deleted ones in a row none. */
function anyRecord(store: ModuleStore, random: Random): LiveRecord | undefined {
  for (let tries = 0; tries < 20 && store.total > 0; tries++) {
    const record = store.at(random.below(store.total));
    if (record !== undefined) return record;
  }
  return undefined;
}
