import { field, type FieldSpec } from './field-spec.ts';
import { beforeModified, bigInteger, chance, choices, day, decimal, oneOf, orEmpty, wholeNumber, words } from './generators.ts';
import { accounts, campaigns, companies, contacts, leadSources, sentences } from './pools.ts';

const stages = ['Qualification', 'Needs Analysis', 'Value Proposition', 'Identify Decision Makers', 'Proposal/Price Quote', 'Negotiation/Review', 'Closed Won', 'Closed Lost'];
const types = ['Existing Business', 'New Business'];
// Values of the sorts that break careless readers: separators in them, one within another.
const rivals = ['Globex', 'Globex, Europe', 'Initech', 'Hooli & Co', 'Ørsted "Nord"', 'Soylent', 'Agriculture, Food, and Natural Resources', 'Smith, Jones; Sons'];
const rivalChoices = choices(rivals);
const short = words([sentences, sentences], '\n');
/** Longer than a query shows of it. */
const long = words(Array.from({ length: 40 }, () => sentences), '<br>');
const subjects = ['Renewal', 'Licences', 'Rollout "Phase 2"', 'Einführung', 'Support, 3 years', '導入'];
const lookup = (name: string, lookupModule: string, targets: FieldSpec['targets'], empty: number): FieldSpec =>
  field(name, 'lookup', { lookupModule, targets, generate: orEmpty(empty, oneOf(targets)) });

/** Worked out by the CRM from two other fields, to the cent. */
const expectedRevenue = field('Expected_Revenue', 'currency', {
  readOnly: true,
  derived: true,
  generate: (_, record) => {
    const [amount, percent] = [record.value('Amount'), record.value('Probability')];
    return typeof amount === 'number' && typeof percent === 'number' ? Math.round(amount * percent) / 100 : null;
  },
});

/** The fields of Deals beside the system's. */
export const dealFields: readonly FieldSpec[] = [
  field('Deal_Name', 'text', { length: 120, mandatory: true, generate: words([companies, subjects, ['#{n}']], ' ') }),
  lookup('Account_Name', 'Accounts', accounts, 10),
  lookup('Contact_Name', 'Contacts', contacts, 30),
  lookup('Campaign_Source', 'Campaigns', campaigns, 70),
  // Points to a record of the organisation, once the organisation has said to which.
  field('Main_Product', 'lookup', { custom: true, lookupModule: 'Products', generate: () => null }),
  field('Stage', 'picklist', { picks: stages, mandatory: true, generate: oneOf(stages) }),
  field('Type', 'picklist', { picks: types, generate: orEmpty(30, oneOf(types)) }),
  field('Lead_Source', 'picklist', { picks: leadSources, generate: orEmpty(30, oneOf(leadSources)) }),
  field('Next_Step', 'text', { length: 100, generate: orEmpty(50, words([['Call', 'Write', 'Visit, again', 'Send "the" offer']], ' ')) }),
  field('Amount', 'currency', { generate: orEmpty(10, decimal(0, 2_000_000, 2)) }),
  expectedRevenue,
  field('Probability', 'percent', { generate: orEmpty(10, wholeNumber(0, 101)) }),
  field('Closing_Date', 'date', { generate: orEmpty(10, day(16_500, 21_500)) }),
  field('Renewal_Date', 'date', { custom: true, generate: orEmpty(60, day(18_000, 22_500)) }),
  field('Overall_Sales_Duration', 'integer', { readOnly: true, generate: orEmpty(20, wholeNumber(0, 900)) }),
  field('Lead_Conversion_Time', 'integer', { readOnly: true, generate: orEmpty(40, wholeNumber(0, 400)) }),
  field('Is_Strategic', 'boolean', { custom: true, generate: chance(15) }),
  field('Competitors', 'multiselectpicklist', { custom: true, picks: rivals, generate: orEmpty(50, oneOf(rivalChoices)) }),
  field('Contract_Number', 'bigint', { custom: true, generate: orEmpty(50, bigInteger) }),
  field('Signed_At', 'datetime', { custom: true, generate: orEmpty(60, beforeModified(300)) }),
  field('Description', 'textarea', { textarea: 'rich_text', length: 50_000, generate: orEmpty(50, (hash, record) => (hash % 25 === 0 ? long : short)(hash, record)) }),
  field('Deal_Number', 'autonumber', { custom: true, readOnly: true, derived: true, generate: (_, record) => `D-${String(record.index + 1).padStart(7, '0')}` }),
];
