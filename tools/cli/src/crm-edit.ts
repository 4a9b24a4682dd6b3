import { createCrmClient, createTokenSource, loadCrmConfig, memoryTokenStore } from '@lockstep/crm-client';
import { loggedFields, moduleByName } from '@lockstep/modules';

import { UsageError } from './errors.ts';

/**
 * Edits a record in the CRM, as a salesperson would.
 * @param assignments `Field=value` each; an empty value clears the field.
 */
export async function editRecord(env: NodeJS.ProcessEnv, module: string, id: string, assignments: readonly string[]): Promise<Record<string, unknown>> {
  if (!/^\d{1,19}$/.test(id)) throw new UsageError(`"${id}" is no record id: it has up to 19 digits. "select id from leads limit 1" gives one.`);
  const fields = Object.fromEntries(assignments.map((text) => fieldOf(module, text)));
  const config = loadCrmConfig(env);
  const crm = createCrmClient({ config, tokens: createTokenSource({ config, store: memoryTokenStore() }) });
  try {
    await crm.updateRecord(module, id, fields);
  } finally {
    await crm.close();
  }
  return fields;
}

function fieldOf(module: string, text: string): [string, unknown] {
  const at = text.indexOf('=');
  if (at < 1) throw new UsageError(`"${text}" is no Field=value, e.g. Company="Ada & Sons"`);
  const name = text.slice(0, at);
  return [name, valueOf(kindOf(module, name), text.slice(at + 1))];
}

function kindOf(module: string, name: string): string | undefined {
  const definition = moduleByName(module);
  return definition && loggedFields(definition).find(({ field }) => field === name)?.kind;
}

function valueOf(kind: string | undefined, text: string): unknown {
  if (text === '') return null;
  switch (kind) {
    case 'integer':
    case 'decimal':
      return Number(text);
    case 'boolean':
      return text === 'true';
    case 'multiselect':
      return text.split(';');
    case 'lookup':
      return { id: text };
    default:
      return text;
  }
}
