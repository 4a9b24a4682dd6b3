import { field, type FieldSpec } from './field-spec.ts';
import { beforeModified, bigInteger, chance, choices, day, decimal, oneOf, orEmpty, wholeNumber, words } from './generators.ts';
import { cities, companies, contacts, countries, firstNames, languages, lastNames, leadSources, sentences, states, streets } from './pools.ts';

const statuses = ['Attempted to Contact', 'Contact in Future', 'Contacted', 'Junk Lead', 'Lost Lead', 'Not Contacted', 'Pre-Qualified', 'Not Qualified'];
const industries = ['ASP (Application Service Provider)', 'Data/Telecom OEM', 'ERP (Enterprise Resource Planning)', 'Government/Military', 'Large Enterprise', 'ManagementISV', 'Small/Medium Enterprise'];
const ratings = ['Acquired', 'Active', 'Market Failed', 'Project Cancelled', 'Shut Down'];
const salutations = ['Mr.', 'Mrs.', 'Ms.', 'Dr.', 'Prof.'];
const spoken = choices(languages);
const text = (pool: readonly string[], empty: number) => orEmpty(empty, words([pool], ' '));
const picklist = (name: string, picks: readonly string[], empty: number): FieldSpec =>
  field(name, 'picklist', { picks, generate: orEmpty(empty, oneOf(picks)) });
const phone = (country: string, empty: number) => orEmpty(empty, (hash) => `${country} ${100 + (hash % 900)} ${1000 + (hash % 8999)}`);
const address = (prefix: string, empty: number) =>
  orEmpty(empty, (hash, record) => `${prefix}${record.index}.${hash % 997}@${hash % 3 === 0 ? 'mail' : 'post'}.example`);

/** The full name is the CRM's own: it follows the two others at once. */
const fullName = field('Full_Name', 'text', {
  readOnly: true,
  derived: true,
  generate: (_, record) => [record.value('First_Name'), record.value('Last_Name')].filter((part) => typeof part === 'string').join(' ') || null,
});

/** The fields of Leads beside the system's. */
export const leadFields: readonly FieldSpec[] = [
  field('Company', 'text', { length: 200, mandatory: true, generate: words([companies, ['{n}']], ' ') }),
  picklist('Salutation', salutations, 40),
  field('First_Name', 'text', { length: 40, generate: text(firstNames, 8) }),
  field('Last_Name', 'text', { length: 80, mandatory: true, generate: words([lastNames], ' ') }),
  fullName,
  field('Designation', 'text', { length: 100, generate: text(['CEO', 'CTO', 'Head of "Special" Projects', 'Buyer', 'Vertriebsleiter, Süd', 'Manager'], 35) }),
  field('Email', 'email', { generate: address('lead', 10) }),
  field('Secondary_Email', 'email', { generate: address('home', 80) }),
  field('Phone', 'phone', { generate: phone('+49 89', 25) }),
  field('Mobile', 'phone', { generate: phone('+44 7911', 45) }),
  field('Fax', 'phone', { generate: phone('+1 555', 90) }),
  field('Website', 'website', { generate: orEmpty(40, (hash, record) => `https://www.company${record.index}.example/?ref=${hash % 100}`) }),
  picklist('Lead_Source', leadSources, 15),
  picklist('Lead_Status', statuses, 10),
  picklist('Industry', industries, 20),
  picklist('Rating', ratings, 55),
  field('No_of_Employees', 'integer', { generate: orEmpty(30, wholeNumber(1, 100_000)) }),
  field('Annual_Revenue', 'currency', { generate: orEmpty(35, decimal(0, 9_000_000, 2)) }),
  field('Email_Opt_Out', 'boolean', { generate: chance(12) }),
  field('Converted__s', 'boolean', { generate: chance(0.5) }),
  field('Street', 'textarea', { length: 250, generate: text(streets, 30) }),
  field('City', 'text', { length: 100, generate: text(cities, 25) }),
  field('State', 'text', { length: 100, generate: text(states, 45) }),
  field('Zip_Code', 'text', { length: 30, generate: orEmpty(30, (hash) => String(hash % 100_000).padStart(5, '0')) }),
  field('Country', 'text', { length: 100, generate: text(countries, 20) }),
  field('Description', 'textarea', { generate: orEmpty(50, words([sentences, sentences], ' ')) }),
  field('Skype_ID', 'text', { length: 50, generate: orEmpty(75, (_, record) => `live:lead_${record.index}`) }),
  field('Twitter', 'text', { length: 50, generate: orEmpty(80, (_, record) => `lead${record.index}`) }),
  field('Lead_Score', 'integer', { custom: true, generate: orEmpty(10, wholeNumber(-20, 100)) }),
  field('Languages_Known', 'multiselectpicklist', { custom: true, picks: languages, generate: orEmpty(40, oneOf(spoken)) }),
  field('Date_of_Birth', 'date', { custom: true, generate: orEmpty(60, day(-9000, 13_000)) }),
  field('Contacted_At', 'datetime', { custom: true, generate: orEmpty(40, beforeModified(400)) }),
  field('External_Reference', 'bigint', { custom: true, generate: orEmpty(30, bigInteger) }),
  field('Win_Probability', 'percent', { custom: true, generate: orEmpty(25, decimal(0, 100, 2)) }),
  field('Referred_By', 'lookup', { custom: true, lookupModule: 'Contacts', targets: contacts, generate: orEmpty(65, oneOf(contacts)) }),
  field('Lead_Number', 'autonumber', { custom: true, readOnly: true, derived: true, generate: (_, record) => `LD-${String(record.index + 1).padStart(7, '0')}` }),
  field('Interests', 'subform', { custom: true, readOnly: true, generate: () => null }),
  field('Related_Products', 'multiselectlookup', { custom: true, readOnly: true, lookupModule: 'Products', generate: () => null }),
];
