import type { ModuleDefinition } from './module-definition.ts';

/** The topics that do not belong to one module. */
export const topics = { notifications: 'crm.notifications', deadLetters: 'crm.dead-letters', claims: 'crm.claims' } as const;

/** The topic of a module's record events, e.g. `crm.records.leads`: keyed by record id, kept forever, never compacted. */
export const topicOf = (module: ModuleDefinition): string => `crm.records.${module.slug}`;
