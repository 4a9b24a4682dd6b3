import type { Random } from '@lockstep/crm-simulator';
import type { ModuleDefinition } from '@lockstep/modules';

import type { Watch } from './invariants.ts';
import { Links } from './links.ts';
import { firstValues, newValues } from './values.ts';
import type { World } from './world.ts';

type Fields = Readonly<Record<string, unknown>>;
type Binned = { readonly id: string; readonly unique: Fields };

/** How people work. `isOpen`: the CRM hides nothing, every change moves `Modified_Time` or is on the deleted list. */
export type Manner = { readonly isOpen: boolean };

/** People at work in the CRM until the world's time is up. What they do follows from the seed. */
export class Life {
  readonly #world: World;
  readonly #watch: Watch;
  readonly #random: Random;
  readonly #links: Links;
  readonly #isOpen: boolean;
  readonly #bin = new Map<ModuleDefinition, Binned[]>();
  changes = 0;

  constructor(world: World, watch: Watch, { isOpen }: Manner = { isOpen: false }) {
    this.#world = world;
    this.#watch = watch;
    this.#random = world.random;
    this.#links = new Links(world.crm.records, world.random);
    this.#isOpen = isOpen;
  }

  /** One change, or several within a second. */
  act(): void {
    const module = this.#world.options.modules[this.#random.below(this.#world.options.modules.length)] as ModuleDefinition;
    const dice = this.#random.below(100);
    this.changes += 1;
    if (dice < 53) this.#edit(module, 1);
    else if (dice < 63) this.#edit(module, 2 + this.#random.below(10));
    else if (dice < 73) this.#create(module);
    else if (dice < 85) this.#delete(module);
    else if (dice < 91) this.#restore(module);
    else if (dice < 94) this.#merge();
    else if (this.#isOpen) this.#edit(module, 1);
    else if (dice < 99) this.#formula(module);
    else this.#import(module);
  }

  #someId(module: ModuleDefinition): string | undefined {
    const ids = this.#world.crm.records.ids(module.apiName);
    return ids[this.#random.below(ids.length)];
  }

  #edit(module: ModuleDefinition, count: number): void {
    const ids = [...new Set(Array.from({ length: count }, () => this.#someId(module)).filter((id) => id !== undefined))];
    const [first] = ids;
    if (first === undefined) return;
    if (module.apiName === 'Products') return this.#editProducts(module, first);
    const isMass = count > 1;
    this.#world.crm.edit(module.apiName, ids, this.#values(module), { isNotified: !isMass || this.#random.below(3) === 0, isLate: isMass });
    for (const id of ids) this.#watch.changed(module, id);
    if (!isMass && this.#random.below(4) === 0) this.#editAgain(module, first);
  }

  /** Again within the second: only the content distinguishes the two. */
  #editAgain(module: ModuleDefinition, id: string): void {
    this.#world.time.after(this.#random.below(900), () => {
      if (this.#world.crm.records.truth(module.apiName, id) === undefined) return;
      this.#world.crm.edit(module.apiName, [id], this.#values(module));
      this.#watch.changed(module, id);
    });
  }

  #editProducts(module: ModuleDefinition, id: string): void {
    for (const edit of this.#links.productEdits(id)) {
      this.#world.crm.edit(module.apiName, [edit.id], edit.fields, { isNotified: this.#random.below(4) > 0 });
      this.#watch.changed(module, edit.id);
    }
  }

  #create(module: ModuleDefinition): string {
    const fields = module.apiName === 'Products' ? this.#links.newProduct() : { ...firstValues[module.apiName], ...this.#lookup(module) };
    const id = this.#world.crm.create(module.apiName, fields, this.#random.below(10) > 0);
    this.#watch.changed(module, id);
    return id;
  }

  #delete(module: ModuleDefinition): void {
    const id = this.#someId(module);
    if (id === undefined) return;
    if (module.apiName === 'Products') this.#letGo(module, id);
    const unique = module.apiName === 'Products' ? this.#links.uniqueValues(id) : {};
    this.#world.crm.delete(module.apiName, id, this.#random.below(4) > 0);
    this.#watch.changed(module, id);
    this.#bin.set(module, [...(this.#bin.get(module) ?? []), { id, unique }]);
  }

  /** What points to a record that is deleted points to nothing from now on. */
  #letGo(module: ModuleDefinition, id: string): void {
    this.#links.freed(id);
    for (const [other, ids] of this.#world.crm.records.pointingTo(module.apiName, id)) this.#point(other, ids, null);
  }

  #point(apiName: string, ids: readonly string[], target: string | null): void {
    this.#world.crm.edit(apiName, ids, { Main_Product: target }, { isNotified: false, keepsTime: !this.#isOpen });
    this.#notePointed(apiName, ids);
  }

  #notePointed(apiName: string, ids: readonly string[]): void {
    const module = this.#module(apiName);
    for (const id of module === undefined ? [] : ids) {
      if (this.#isOpen) this.#watch.changed(module as ModuleDefinition, id);
      else this.#watch.changedWithoutTime(module as ModuleDefinition, id);
    }
  }

  /** Out of the recycle bin, with the old `Modified_Time`; often without a notification. */
  #restore(module: ModuleDefinition): void {
    const bin = this.#bin.get(module) ?? [];
    const binned = bin[this.#random.below(bin.length)];
    if (binned === undefined || (module.apiName === 'Products' && !this.#links.isFree(binned.unique))) return;
    this.#bin.set(module, bin.filter((one) => one !== binned));
    this.#world.crm.restore(module.apiName, binned.id, this.#random.below(2) === 0);
    this.#watch.restored(module, binned.id);
    // What it pointed to may be gone by now.
    if (module.apiName === 'Deals') this.#point('Deals', [binned.id], null);
    else if (this.#isOpen) this.#world.crm.edit(module.apiName, [binned.id], {});
  }

  /** Two Products become one; Deals point to the one that is left, and need not have been modified for that. */
  #merge(): void {
    const products = this.#module('Products');
    const [loser, master] = products === undefined ? [] : [this.#someId(products), this.#someId(products)];
    if (products === undefined || loser === undefined || master === undefined || loser === master) return;
    this.#links.freed(loser);
    for (const [other, ids] of this.#world.crm.merge('Products', loser, master, this.#isOpen)) this.#notePointed(other, ids);
    for (const id of [loser, master]) this.#watch.changed(products, id);
    this.#world.met.note('record-merged');
  }

  /** A change without a new `Modified_Time`, which nothing notifies. */
  #formula(module: ModuleDefinition): void {
    const id = this.#someId(module);
    if (id === undefined || module.apiName === 'Products') return;
    this.#world.crm.edit(module.apiName, [id], this.#values(module), { keepsTime: true });
    this.#watch.changedWithoutTime(module, id);
  }

  /** An import that stamps what it likes: minutes ahead, or years. Nothing notifies it, and later edits of the record seem older. */
  #import(module: ModuleDefinition): void {
    const id = this.#someId(module);
    if (id === undefined || module.apiName === 'Products') return;
    const aheadMs = this.#random.below(2) === 0 ? this.#random.below(3_600_000) : this.#random.below(1_000_000) * 86_400;
    this.#world.crm.edit(module.apiName, [id], this.#values(module), { isNotified: false, modifiedMs: this.#world.time.now() + aheadMs });
    this.#watch.stampedAhead(module, id);
  }

  #values(module: ModuleDefinition): Fields {
    return this.#random.below(3) === 0 && module.apiName === 'Deals' ? this.#lookup(module) : newValues(module.apiName, this.#random);
  }

  /** For a Deal: the Product it points to, which may have been made at this very moment. */
  #lookup(module: ModuleDefinition): Fields {
    const products = this.#module('Products');
    if (products === undefined || module.apiName !== 'Deals') return {};
    return { Main_Product: this.#random.below(4) === 0 ? this.#create(products) : (this.#someId(products) ?? null) };
  }

  #module(apiName: string): ModuleDefinition | undefined {
    return this.#world.options.modules.find((module) => module.apiName === apiName);
  }
}
