import { coverageOf, type ModuleDefinition } from '@lockstep/modules';
import { encodeConfirmed, encodeDeleted, encodeSeen, type FieldValue } from '@lockstep/record-log';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';

import type { LoggedMessage } from '../memory/fold-messages.ts';
import { LONGEST_COMPANY, simulatedDeals, simulatedLeads, simulatedProducts } from '../modules.ts';

/** A row as a reader of the legacy table sees it; the values are those of the module's fields, in their order. */
export type ShownRow = { readonly id: string; readonly values: readonly FieldValue[]; readonly isDeleted: boolean };

/** Tables under the simulated constraints: a topic of one partition for each module. */
export type TablesUnderTest = {
  /** Applies messages as one batch. */
  project(module: ModuleDefinition, messages: readonly LoggedMessage[]): Promise<void>;
  /** As if every pause were over, so many times: tries what waits of each module, and notes what is overtaken. By default, until nothing more changes. */
  resolve(rounds?: number): Promise<void>;
  rows(module: ModuleDefinition): Promise<readonly ShownRow[]>;
  /** Records of which something counts as parked. */
  parked(module: ModuleDefinition): Promise<readonly string[]>;
  clear(): Promise<void>;
  close(): Promise<void>;
};

const at = (clock: string): number => Date.parse(`2026-05-04T${clock}Z`);
type Fields = Readonly<Record<string, FieldValue>>;
type Look = { readonly id: string; readonly modified: string; readonly observed?: string; readonly fields?: Fields };

/** The log of each module, and what a batch of it is. */
export class Logs {
  readonly #offsets = new Map<ModuleDefinition, number>();

  message(module: ModuleDefinition, value: string): LoggedMessage {
    const offset = this.#offsets.get(module) ?? 0;
    this.#offsets.set(module, offset + 1);
    return { offset, value: Buffer.from(value) };
  }

  seen(module: ModuleDefinition, look: Look): LoggedMessage {
    return this.message(module, encodeSeen(sightingOf(module, look)).value);
  }

  confirmed(module: ModuleDefinition, look: Look): LoggedMessage {
    return this.message(module, encodeConfirmed({ ...sightingOf(module, look), hash: encodeSeen(sightingOf(module, look)).hash }));
  }

  deleted(module: ModuleDefinition, id: string, clock: string, listed?: string): LoggedMessage {
    return this.message(module, encodeDeleted({ id, deletedMs: at(clock), ...(listed === undefined ? {} : { listedMs: at(listed) }) }));
  }
}

function sightingOf(module: ModuleDefinition, { id, modified, observed = modified, fields = {} }: Look) {
  const covered = coverageOf(module);
  return { id, modifiedMs: at(modified), observedMs: at(observed), coverage: covered.id, fields: covered.fields.map((field) => fields[field] ?? null) };
}

const tooLong = 'x'.repeat(LONGEST_COMPANY + 1);

/** What happens to what the table refuses, whichever it is. */
export function describeConflicts(name: string, create: () => Promise<TablesUnderTest>): void {
  describe(`what conflicts (${name})`, () => {
    let tables: TablesUnderTest;
    let logs: Logs;
    beforeAll(async () => {
      tables = await create();
    });
    beforeEach(async () => {
      logs = new Logs();
      await tables.clear();
    });
    afterAll(() => tables.close());
    const product = (n: number, modified: string, code: string | null = null, label = `Product ${n}`) => logs.seen(simulatedProducts, { id: String(n), modified, fields: { Product_Name: label, Product_Code: code } });
    const deal = (modified: string, target: string | null, label = modified) => logs.seen(simulatedDeals, { id: '70', modified, fields: { Deal_Name: label, Main_Product: target } });
    const lead = (modified: string, company: string) => logs.seen(simulatedLeads, { id: '7', modified, fields: { Company: company } });
    const codes = async () => (await tables.rows(simulatedProducts)).map(({ id, values }) => [id, values[1]]);
    const names = async (module: ModuleDefinition) => (await tables.rows(module)).map(({ values }) => values[0]);

    test('a Deal before its Product waits, and is right once that is there', async () => {
      await tables.project(simulatedDeals, [deal('10:00:00', '9')]);
      await tables.resolve();
      expect([await tables.rows(simulatedDeals), await tables.parked(simulatedDeals)]).toEqual([[], ['70']]);
      await tables.project(simulatedProducts, [product(9, '10:00:00')]);
      await tables.resolve();
      expect([await names(simulatedDeals), await tables.parked(simulatedDeals)]).toEqual([['10:00:00'], []]);
    });

    test('a newer look that waits is not overtaken by an older row that comes later in the log', async () => {
      await tables.project(simulatedDeals, [deal('10:05:00', '9')]);
      await tables.project(simulatedDeals, [deal('10:00:00', null)]);
      await tables.resolve();
      await tables.project(simulatedProducts, [product(9, '10:00:00')]);
      await tables.resolve();
      expect([await names(simulatedDeals), await tables.parked(simulatedDeals)]).toEqual([['10:05:00'], []]);
    });

    test('what never fits stays parked while an older content stands, and not once a newer one fits', async () => {
      await tables.project(simulatedLeads, [lead('10:05:00', tooLong)]);
      await tables.project(simulatedLeads, [lead('10:00:00', 'Old')]);
      await tables.resolve();
      expect([await names(simulatedLeads), await tables.parked(simulatedLeads)]).toEqual([['Old'], ['7']]);
      await tables.project(simulatedLeads, [lead('10:10:00', 'New')]);
      await tables.resolve();
      expect([await names(simulatedLeads), await tables.parked(simulatedLeads)]).toEqual([['New'], []]);
    });

    test('what never fits is parked no longer once a much later look finds the content that stands', async () => {
      const old = { id: '7', modified: '10:00:00', fields: { Company: 'Old' } };
      await tables.project(simulatedLeads, [logs.seen(simulatedLeads, old), lead('10:05:00', tooLong)]);
      await tables.project(simulatedLeads, [logs.confirmed(simulatedLeads, { ...old, observed: '10:14:00' })]);
      await tables.resolve();
      expect(await tables.parked(simulatedLeads)).toEqual(['7']);
      await tables.project(simulatedLeads, [logs.confirmed(simulatedLeads, { ...old, observed: '10:16:00' })]);
      await tables.resolve();
      expect([await names(simulatedLeads), await tables.parked(simulatedLeads)]).toEqual([['Old'], []]);
    });

    test('what waits is not applied once a much later look has found the content that stands', async () => {
      const old = { id: '70', modified: '10:00:00', fields: { Deal_Name: 'Old' } };
      await tables.project(simulatedDeals, [logs.seen(simulatedDeals, old)]);
      await tables.project(simulatedDeals, [deal('10:05:00', '9')]);
      await tables.project(simulatedDeals, [logs.confirmed(simulatedDeals, { ...old, observed: '10:16:00' })]);
      await tables.project(simulatedProducts, [product(9, '10:00:00')]);
      await tables.resolve();
      expect([await names(simulatedDeals), await tables.parked(simulatedDeals)]).toEqual([['Old'], []]);
    });

    test('a Deal that is deleted while it waits does not count as parked', async () => {
      await tables.project(simulatedDeals, [deal('09:00:00', null)]);
      await tables.project(simulatedDeals, [deal('10:00:00', '9')]);
      await tables.project(simulatedDeals, [logs.deleted(simulatedDeals, '70', '10:05:00')]);
      await tables.resolve();
      expect([(await tables.rows(simulatedDeals)).map(({ isDeleted }) => isDeleted), await tables.parked(simulatedDeals)]).toEqual([[true], []]);
    });

    test('a record that the deleted list still names long after a look is dead after it, whatever its deletion is dated', async () => {
      const deleted = async (): Promise<unknown> => [(await tables.rows(simulatedLeads)).map(({ isDeleted }) => isDeleted), await tables.parked(simulatedLeads)];
      await tables.project(simulatedLeads, [lead('10:00:00', 'Old'), lead('10:05:00', tooLong)]);
      // The CRM's clock was set back in between.
      await tables.project(simulatedLeads, [logs.deleted(simulatedLeads, '7', '10:01:00', '10:05:30')]);
      await tables.resolve();
      expect(await deleted()).toEqual([[true], ['7']]);
      await tables.project(simulatedLeads, [logs.deleted(simulatedLeads, '7', '10:01:00', '10:06:01')]);
      await tables.resolve();
      expect(await deleted()).toEqual([[true], []]);
    });

    test('two Products swap their codes, and a third one gets one that is given up', async () => {
      await tables.project(simulatedProducts, [product(1, '09:00:00', 'x'), product(2, '09:00:00', 'y'), product(3, '09:00:00', 'z')]);
      await tables.project(simulatedProducts, [product(1, '10:00:00', 'y')]);
      await tables.project(simulatedProducts, [product(2, '10:00:00', 'z')]);
      await tables.resolve();
      expect(await tables.parked(simulatedProducts)).toEqual(['1', '2']);
      await tables.project(simulatedProducts, [product(3, '10:00:00', 'x')]);
      await tables.resolve();
      expect([await codes(), await tables.parked(simulatedProducts)]).toEqual([[['1', 'y'], ['2', 'z'], ['3', 'x']], []]);
    });

    test('a name that may not be empty goes to another Product once its owner has a new one', async () => {
      await tables.project(simulatedProducts, [product(1, '09:00:00', null, 'A'), product(2, '09:00:00', null, 'B')]);
      await tables.project(simulatedProducts, [product(1, '10:00:00', null, 'B')]);
      await tables.project(simulatedProducts, [product(2, '10:00:00', null, 'C')]);
      await tables.resolve();
      expect([await names(simulatedProducts), await tables.parked(simulatedProducts)]).toEqual([['B', 'C'], []]);
    });

    test('a Product is removed once no Deal points to it', async () => {
      await tables.project(simulatedProducts, [product(1, '09:00:00')]);
      await tables.project(simulatedDeals, [deal('09:00:00', '1')]);
      await tables.project(simulatedProducts, [logs.deleted(simulatedProducts, '1', '10:00:00')]);
      await tables.resolve();
      expect([await names(simulatedProducts), await tables.parked(simulatedProducts)]).toEqual([['Product 1'], ['1']]);
      await tables.project(simulatedDeals, [deal('10:00:00', null)]);
      await tables.resolve();
      expect([await names(simulatedProducts), await tables.parked(simulatedProducts)]).toEqual([[], []]);
    });

    test('a Product that is seen clearly after a removal that waits is not removed', async () => {
      await tables.project(simulatedProducts, [product(1, '09:00:00')]);
      await tables.project(simulatedDeals, [deal('09:00:00', '1')]);
      await tables.project(simulatedProducts, [logs.deleted(simulatedProducts, '1', '10:00:00')]);
      await tables.project(simulatedProducts, [logs.seen(simulatedProducts, { id: '1', modified: '09:00:00', observed: '10:30:00', fields: { Product_Name: 'Back' } })]);
      await tables.project(simulatedDeals, [deal('10:00:00', null)]);
      await tables.resolve();
      expect([await names(simulatedProducts), await tables.parked(simulatedProducts)]).toEqual([['Back'], []]);
    });
  });
}
