import { resolve } from 'node:path';
import { pathToFileURL } from 'node:url';

import { defineModule, type ModuleDefinition } from '@lockstep/modules';

/**
 * Module definitions from a file of one's own, for a database with other tables: a JavaScript or TypeScript module that exports them as the list `modules`.
 * Slugs and field names are those of the record topics; tables and columns are its own.
 * @throws {Error} naming the file, and what is wrong in it.
 */
export async function loadDefinitions(file: string): Promise<readonly ModuleDefinition[]> {
  try {
    const { modules } = (await import(pathToFileURL(resolve(file)).href)) as { readonly modules?: readonly ModuleDefinition[] };
    if (!Array.isArray(modules) || modules.length === 0) throw new Error('it exports no list "modules"');
    return modules.map(defineModule);
  } catch (cause) {
    throw new Error(`LOCKSTEP_MODULE_DEFINITIONS: ${file}: ${cause instanceof Error ? cause.message : String(cause)}`, { cause });
  }
}
