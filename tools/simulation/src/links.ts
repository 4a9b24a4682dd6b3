import type { Random } from '@lockstep/crm-simulator';

import type { VirtualRecords } from './virtual-records.ts';

type Fields = Readonly<Record<string, unknown>>;
/** Edits of Products that happen at one moment. */
export type ProductEdits = readonly { readonly id: string; readonly fields: Fields }[];

/**
 * Unique values of Products and lookups of Deals, as people make them: unique in the CRM at any moment, and such that the table can
 * follow. Codes may be empty, so two Products may swap them. Names may not, and what swaps them waits until one gets a third one: so
 * a name that is free again only goes to a Product with a smaller id, and no ring comes about.
 */
export class Links {
  readonly #records: VirtualRecords;
  readonly #random: Random;
  readonly #freed: { readonly name: string; readonly from: string }[] = [];
  #made = 0;

  constructor(records: VirtualRecords, random: Random) {
    this.#records = records;
    this.#random = random;
  }

  newProduct(): Fields {
    return { Product_Name: this.#fresh('Product'), Product_Code: this.#random.below(4) === 0 ? null : this.#fresh('C') };
  }

  /** What happens to a Product, and perhaps to another one with it. */
  productEdits(id: string): ProductEdits {
    switch (this.#random.below(5)) {
      case 0:
        return [{ id, fields: { Product_Code: null } }];
      case 1:
        return [{ id, fields: { Product_Code: this.#fresh('C') } }];
      case 2:
        return [{ id, fields: { Product_Name: this.#renamed(id) } }];
      default:
        return this.#swap(id, this.#someProduct());
    }
  }

  /** Notes that a Product is gone, and its name free. */
  freed(id: string): void {
    this.#freed.push({ name: this.#valueOf(id, 'Product_Name') ?? '', from: id });
  }

  /** Whether a Product can come back: no other one has its name or code by now. */
  isFree(fields: Fields): boolean {
    return this.#products().every((id) => this.#valueOf(id, 'Product_Name') !== fields['Product_Name'] && (fields['Product_Code'] === null || this.#valueOf(id, 'Product_Code') !== fields['Product_Code']));
  }

  /** The unique values of a Product that stands. */
  uniqueValues(id: string): Fields {
    return { Product_Name: this.#valueOf(id, 'Product_Name'), Product_Code: this.#valueOf(id, 'Product_Code') };
  }

  #someProduct(): string {
    const ids = this.#products();
    return ids[this.#random.below(ids.length)] as string;
  }

  #swap(a: string, b: string): ProductEdits {
    const [codeOfA, codeOfB] = [this.#valueOf(a, 'Product_Code'), this.#valueOf(b, 'Product_Code')];
    return a === b ? [{ id: a, fields: { Product_Code: this.#fresh('C') } }] : [{ id: a, fields: { Product_Code: codeOfB } }, { id: b, fields: { Product_Code: codeOfA } }];
  }

  #renamed(id: string): string {
    const taken = new Set(this.#products().map((one) => this.#valueOf(one, 'Product_Name')));
    const free = this.#freed.filter(({ name, from }) => from > id && !taken.has(name));
    this.freed(id);
    return free[this.#random.below(free.length)]?.name ?? this.#fresh('Product');
  }

  #products(): string[] {
    return this.#records.ids('Products');
  }

  #valueOf(id: string, field: string): string | null {
    return (this.#records.truth('Products', id)?.value(field) ?? null) as string | null;
  }

  #fresh(kind: string): string {
    this.#made += 1;
    return `${kind}-made-${this.#made}`;
  }
}
