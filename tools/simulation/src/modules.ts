import { deals, leads, type ModuleDefinition } from '@lockstep/modules';

/** The simulated modules: real ones, cut to a few fields of different kinds, so that a seed costs little. */
const cutTo = (module: ModuleDefinition, names: readonly string[]): ModuleDefinition => ({ ...module, fields: module.fields.filter(({ field }) => names.includes(field)) });

export const simulatedLeads = cutTo(leads, ['Company', 'Last_Name', 'Lead_Score', 'Email_Opt_Out']);
export const simulatedDeals = cutTo(deals, ['Deal_Name', 'Stage', 'Probability']);
