export { defineModule } from './module-definition.ts';
export type { ColumnType, FieldMapping, LoggedField, ModuleDefinition } from './module-definition.ts';
export { findModule, moduleByName, modules, selectModules } from './registry.ts';
export { coverageOf } from './coverage-of.ts';
export { loggedFields } from './logged-fields.ts';
export { topicOf, topics } from './topics.ts';
export { leads } from './leads.ts';
export { deals } from './deals.ts';
export { products } from './products.ts';
