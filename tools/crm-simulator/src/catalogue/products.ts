import { field, type FieldSpec } from './field-spec.ts';
import { beforeModified, bigInteger, chance, choices, day, decimal, oneOf, orEmpty, wholeNumber, words } from './generators.ts';
import { sentences, users, vendors } from './pools.ts';

const makers = ['AltvetPet Inc.', 'LexPon Inc.', 'MetBeat Corp.', 'Werkzeug & Söhne'];
const categories = ['Hardware', 'Software', 'CRM Applications', 'Service "Plus"'];
const units = ['Box', 'Carton', 'Dozen', 'Each', 'Hours', 'Pack', 'm²'];
const regions = ['Europe', 'Europe, Middle East and Africa', 'Asia', 'North America', 'South America', 'Africa', 'Ozeanien'];
const regionChoices = choices(regions);
const goods = ['Desk', 'Lamp "Nova"', 'Stuhl, schwarz', 'Cable 1½ m', 'Écran', '机', 'Bottle', 'Rack'];
const picklist = (name: string, picks: readonly string[], empty: number): FieldSpec =>
  field(name, 'picklist', { picks, generate: orEmpty(empty, oneOf(picks)) });
const quantity = (name: string, empty: number): FieldSpec => field(name, 'double', { decimalPlaces: 4, generate: orEmpty(empty, decimal(0, 10_000, 4)) });

/** The fields of Products beside the system's. */
export const productFields: readonly FieldSpec[] = [
  field('Product_Name', 'text', { length: 200, mandatory: true, generate: words([goods, ['{n}']], ' ') }),
  field('Product_Code', 'text', { length: 40, generate: orEmpty(5, (hash, record) => `P-${record.index}-${hash % 97}`) }),
  field('Vendor_Name', 'lookup', { lookupModule: 'Vendors', targets: vendors, generate: orEmpty(25, oneOf(vendors)) }),
  field('Handler', 'userlookup', { lookupModule: 'users', targets: users, generate: orEmpty(50, oneOf(users)) }),
  field('Product_Active', 'boolean', { generate: chance(85) }),
  field('Taxable', 'boolean', { generate: chance(70) }),
  picklist('Manufacturer', makers, 30),
  picklist('Product_Category', categories, 20),
  picklist('Usage_Unit', units, 20),
  field('Unit_Price', 'currency', { generate: orEmpty(5, decimal(0.01, 20_000, 2)) }),
  field('Commission_Rate', 'currency', { generate: orEmpty(60, decimal(0, 500, 2)) }),
  field('Discount_Percent', 'percent', { custom: true, generate: orEmpty(60, decimal(0, 60, 2)) }),
  quantity('Qty_in_Stock', 15),
  quantity('Qty_in_Demand', 50),
  quantity('Qty_Ordered', 50),
  quantity('Reorder_Level', 50),
  field('Warranty_Months', 'integer', { custom: true, generate: orEmpty(30, wholeNumber(0, 61)) }),
  field('Article_Number', 'bigint', { custom: true, generate: orEmpty(10, bigInteger) }),
  field('Sales_Start_Date', 'date', { generate: orEmpty(30, day(14_000, 19_000)) }),
  field('Sales_End_Date', 'date', { generate: orEmpty(70, day(19_000, 24_000)) }),
  field('Last_Audited_At', 'datetime', { custom: true, generate: orEmpty(50, beforeModified(200)) }),
  field('Sold_In', 'multiselectpicklist', { custom: true, picks: regions, generate: orEmpty(30, oneOf(regionChoices)) }),
  field('Description', 'textarea', { generate: orEmpty(40, words([sentences], ' ')) }),
  field('Product_Number', 'autonumber', { custom: true, readOnly: true, derived: true, generate: (_, record) => `PR-${String(record.index + 1).padStart(6, '0')}` }),
];
