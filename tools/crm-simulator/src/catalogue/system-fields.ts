import { idOf, keyBase } from '../record-ids.ts';
import { field, type FieldSpec, type Lookup } from './field-spec.ts';
import { beforeModified, choices, decimal, oneOf, orEmpty } from './generators.ts';
import { currencies, tagNames, users } from './pools.ts';

const user = { lookupModule: 'users', targets: users } as const;
const tagChoices = choices(tagNames);

/** The fields every module has, which the CRM keeps itself. The record answers those that are derived. */
export const systemFields: readonly FieldSpec[] = [
  field('id', 'id', { readOnly: true, derived: true, label: 'Record Id', generate: () => null }),
  field('Owner', 'ownerlookup', { ...user, generate: oneOf(users) }),
  field('Created_By', 'ownerlookup', { ...user, readOnly: true, generate: oneOf(users) }),
  field('Modified_By', 'ownerlookup', { ...user, readOnly: true, generate: oneOf(users) }),
  field('Created_Time', 'datetime', { readOnly: true, derived: true, generate: (_, record) => record.createdMs }),
  field('Modified_Time', 'datetime', { readOnly: true, derived: true, generate: (_, record) => record.modifiedMs }),
  field('Tag', 'tags', { generate: orEmpty(70, oneOf(tagChoices)) }),
  field('Record_Status__s', 'picklist', { readOnly: true, derived: true, picks: ['Available', 'Draft', 'Trash'], generate: () => 'Available' }),
];

/** Fields of the modules that know activities. */
export const activityField: FieldSpec = field('Last_Activity_Time', 'datetime', { readOnly: true, generate: orEmpty(20, beforeModified(30)) });

/** Fields of organisations with several currencies. */
export const currencyFields: readonly FieldSpec[] = [
  field('Currency', 'picklist', { picks: currencies, generate: orEmpty(5, oneOf(currencies)) }),
  field('Exchange_Rate', 'double', { generate: orEmpty(5, decimal(0.05, 90, 9)) }),
];

/** The layout, an object in JSON, and a file field: kinds that a replica meets though it does not map them. */
export function structureFields(module: number): readonly FieldSpec[] {
  const layout: Lookup = { id: idOf(keyBase.layouts + module), name: 'Standard' };
  return [
    field('Layout', 'layout', { readOnly: true, derived: true, targets: [layout], generate: () => layout }),
    field('Attached_Files', 'fileupload', { custom: true, readOnly: true, generate: () => null }),
  ];
}
