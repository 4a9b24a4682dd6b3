import { deals, leads, type ModuleDefinition, products } from '@lockstep/modules';

import type { TableRules } from './memory/memory-table.ts';

/** Simulated companies are shorter; a life makes longer ones, which fit the CRM and never the table. */
export const LONGEST_COMPANY = 80;

/** The simulated modules: real ones, cut to a few fields of different kinds, so that a seed costs little. */
const cutTo = (module: ModuleDefinition, names: readonly string[]): ModuleDefinition => ({ ...module, fields: module.fields.filter(({ field }) => names.includes(field)), alsoLogged: [] });
const shortened = (module: ModuleDefinition): ModuleDefinition => ({ ...module, fields: module.fields.map((one) => (one.field === 'Company' ? { ...one, type: `varchar(${LONGEST_COMPANY})` } : one)) });

export const simulatedLeads = shortened(cutTo(leads, ['Company', 'Last_Name', 'Lead_Score', 'Email_Opt_Out']));
/** A Deal points to a Product, under a foreign key. */
export const simulatedDeals = cutTo(deals, ['Deal_Name', 'Stage', 'Probability', 'Main_Product']);
/** A deleted Product leaves the table, unless a Deal points to it. */
export const simulatedProducts = cutTo(products, ['Product_Name', 'Product_Code']);

export const simulatedModules: readonly ModuleDefinition[] = [simulatedLeads, simulatedDeals, simulatedProducts];

/** Whether a record of the CRM has a value that is too long for its column. */
export function isLengthExceeded(module: string, valueOf: (field: string) => unknown): boolean {
  const company = module === 'Leads' ? valueOf('Company') : null;
  return typeof company === 'string' && company.length > LONGEST_COMPANY;
}

/** What the legacy tables demand. */
export const tableRules: Readonly<Record<string, TableRules>> = {
  Deals: { unique: [], references: [{ field: 'Main_Product', to: 'Products' }] },
  Products: { unique: [{ field: 'Product_Name', isNullable: false }, { field: 'Product_Code', isNullable: true }], references: [] },
};
