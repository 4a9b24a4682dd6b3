import type { ModuleDefinition } from '@lockstep/modules';

import type { Database } from './database.ts';

/** Records of a module that point to others. */
export type Referring = { readonly module: string; readonly ids: readonly string[] };

/** Who points to whom, as the legacy tables have it, and what waits to be written into them. */
export type Referrers = {
  /** The records whose rows point to these records of a module, or that wait and name one of them, for each module that has any; at most 5,000 rows a module. */
  to(module: string, ids: readonly string[]): Promise<Referring[]>;
};

/** More have to wait for the refresh. */
const MOST = 5_000;

/** Ids stand as texts in an event. One that waits and names the record in another field is looked at once more than it had to be. */
const waitingFor = `
  select distinct record_id as id from lockstep.parked
  where module = $1 and value is not null and record_id <> all($2::text[])
    and exists (select from unnest($2::text[]) as named (id) where position(convert_to('"' || named.id || '"', 'UTF8') in value) > 0)`;

/** Looks up referrers in the mapped lookup columns (see `refersTo`); an index on such a column keeps it fast. */
export const referrers = ({ pool }: Pick<Database, 'pool'>, modules: readonly ModuleDefinition[]): Referrers => ({
  to: async (module, ids) => {
    const found: Referring[] = [];
    for (const { apiName, table, keyColumn, fields } of ids.length === 0 ? [] : modules) {
      const columns = fields.filter(({ refersTo }) => refersTo === module).map(({ column }) => `"${column}"`);
      if (columns.length === 0) continue;
      const { rows } = await pool.query<{ id: string }>(
        // Parameters without a type take the column's, which need not be bigint.
        `select "${keyColumn}"::text as id from "${table.schema}"."${table.name}" where ${columns.map((column) => `${column} = any($1)`).join(' or ')} limit ${MOST}`,
        [ids],
      );
      const waiting = await pool.query<{ id: string }>(waitingFor, [apiName, ids]);
      const referring = new Set([...rows, ...waiting.rows].map(({ id }) => id));
      if (referring.size > 0) found.push({ module: apiName, ids: [...referring] });
    }
    return found;
  },
});
