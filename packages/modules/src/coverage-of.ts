import { type Coverage, coverage } from '@lockstep/record-log';

import type { ModuleDefinition } from './module-definition.ts';

/** The coverage a module's events carry: its core fields, in the definition's order. */
export const coverageOf = (module: ModuleDefinition): Coverage => coverage(module.fields.map((mapping) => mapping.field));
