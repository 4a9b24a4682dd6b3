import { idOf, keyBase } from '../record-ids.ts';
import { dealFields } from './deals.ts';
import { type FieldSpec, isFlat } from './field-spec.ts';
import { leadFields } from './leads.ts';
import { productFields } from './products.ts';
import { activityField, currencyFields, structureFields, systemFields } from './system-fields.ts';

/** A module of the organisation: its names, its ids and its fields. */
export type ModuleSpec = {
  readonly apiName: string;
  readonly id: string;
  readonly singular: string;
  /** Position in the catalogue; decides the keys of the records. */
  readonly position: number;
  readonly keyBase: number;
  readonly fields: readonly FieldSpec[];
  readonly byName: ReadonlyMap<string, FieldSpec>;
  /** The field that stands for the record in lists and lookups. */
  readonly displayField: string;
  /** What bulk read exports when no fields are named. */
  readonly flatFields: readonly FieldSpec[];
};

function moduleSpec(position: number, apiName: string, singular: string, displayField: string, own: readonly FieldSpec[]): ModuleSpec {
  const fields = [...systemFields, ...own, ...structureFields(position)];
  return {
    apiName,
    singular,
    position,
    displayField,
    fields,
    id: idOf(keyBase.modules + position),
    keyBase: keyBase.records(position),
    byName: new Map(fields.map((field) => [field.apiName, field])),
    flatFields: fields.filter(isFlat),
  };
}

/** The modules that hold records. */
export const catalogue: readonly ModuleSpec[] = [
  moduleSpec(0, 'Leads', 'Lead', 'Full_Name', [activityField, ...leadFields, ...currencyFields]),
  moduleSpec(1, 'Deals', 'Deal', 'Deal_Name', [activityField, ...dealFields, ...currencyFields]),
  moduleSpec(2, 'Products', 'Product', 'Product_Name', productFields),
];

/** @returns the module of that API name, if there is one. */
export const findModule = (apiName: string): ModuleSpec | undefined => catalogue.find((module) => module.apiName === apiName);
