import { type Coverage, coverage } from '@lockstep/record-log';

import { loggedFields } from './logged-fields.ts';
import type { ModuleDefinition } from './module-definition.ts';

/** The coverage a module's events carry: its mapped fields, then those that are logged without a column, in the definition's order. */
export const coverageOf = (module: ModuleDefinition): Coverage => coverage(loggedFields(module).map(({ field }) => field));
