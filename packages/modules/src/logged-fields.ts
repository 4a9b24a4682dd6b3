import type { LoggedField, ModuleDefinition } from './module-definition.ts';

/** Every field of a module that is read from the CRM and kept in the log, in coverage order: those with a column first. */
export const loggedFields = ({ fields, alsoLogged = [] }: Pick<ModuleDefinition, 'fields' | 'alsoLogged'>): readonly LoggedField[] => (alsoLogged.length === 0 ? fields : [...fields, ...alsoLogged]);
