import type { Random } from '@lockstep/crm-simulator';

import { LONGEST_COMPANY } from './modules.ts';

type Fields = Readonly<Record<string, unknown>>;

const makers: Readonly<Record<string, readonly ((random: Random) => Fields)[]>> = {
  Leads: [
    // One in a dozen fits the CRM and never the table.
    (random) => ({ Company: random.below(12) === 0 ? `Company ${'x'.repeat(LONGEST_COMPANY)}` : `Company ${random.below(1_000)}` }),
    (random) => ({ Lead_Score: random.below(100) }),
    (random) => ({ Email_Opt_Out: random.below(2) === 0 }),
    (random) => ({ Last_Name: `Name "${random.below(50)}",\nJr.` }),
  ],
  Deals: [(random) => ({ Deal_Name: `Deal ${random.below(1_000)}` }), (random) => ({ Probability: random.below(101) })],
};

/** What people enter into a record that stands. Unique values and lookups are {@link Links}' matter. */
export const newValues = (module: string, random: Random): Fields => {
  const list = makers[module] ?? [];
  return list[random.below(list.length)]?.(random) ?? {};
};

/** What a new record has to have. */
export const firstValues: Readonly<Record<string, Fields>> = { Leads: { Last_Name: 'New', Company: 'New' }, Deals: { Deal_Name: 'New', Stage: 'Qualification' } };
