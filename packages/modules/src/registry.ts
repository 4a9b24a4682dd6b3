import { deals } from './deals.ts';
import { leads } from './leads.ts';
import type { ModuleDefinition } from './module-definition.ts';
import { products } from './products.ts';

/** Every module this build knows. A new one is a file beside `leads.ts` and a line here. */
export const modules: readonly ModuleDefinition[] = [leads, deals, products];

/** @returns the definition, or undefined for a module that is not mapped. */
export const moduleByName = (apiName: string): ModuleDefinition | undefined => modules.find((module) => module.apiName === apiName);

/**
 * The definition of a module that a person names, in any case: by its API name or its slug.
 * @throws {Error} naming those there are.
 */
export function findModule(name: string): ModuleDefinition {
  const wanted = name.toLowerCase();
  const module = modules.find(({ apiName, slug }) => apiName.toLowerCase() === wanted || slug.toLowerCase() === wanted);
  if (module === undefined) throw new Error(`"${name}" is no module; there are ${modules.map(({ apiName }) => apiName).join(', ')}`);
  return module;
}

/**
 * The modules named in a configuration value.
 * @param names comma-separated API names, e.g. `Leads,Deals`.
 * @param known the definitions to choose from; those of this build by default.
 * @throws {Error} naming the unknown module and those there are.
 */
export function selectModules(names: string, known: readonly ModuleDefinition[] = modules): readonly ModuleDefinition[] {
  return names.split(',').map((name) => {
    const module = known.find(({ apiName }) => apiName === name.trim());
    if (module === undefined) throw new Error(`unknown module "${name.trim()}"; there are ${known.map((m) => m.apiName).join(', ')}`);
    return module;
  });
}
