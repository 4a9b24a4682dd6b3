import type { Pool, PoolClient } from 'pg';

import { completeUnder, type Mapping, mappingOf, type MappingState } from './mapping-state.ts';
import type { ModuleProjection } from './module-projection.ts';

type Client = Pick<Pool, 'query'> | Pick<PoolClient, 'query'>;

/**
 * Compares this build's mapping with the table, and makes it the current one. Once that is done, no process writes by another mapping any more: its
 * next batch ends with `MAPPING_CHANGED`. What was written by the former one is left as it stands; see `applyMapping` of `@lockstep/rebuild`.
 * @throws {ProjectionError} `TABLE_UNFIT` with every fault and its remedy; `CASCADING_FOREIGN_KEY` where the only fault is that removing a
 *   row would remove or change rows of other tables. Then the mapping that was current stays so.
 */
export async function adoptMapping(pool: Pool, projection: ModuleProjection): Promise<void> {
  await projection.readTable(pool);
  const { rows: [known] } = await pool.query<{ fingerprint: string; is_complete_known: boolean }>('select fingerprint, complete is not null as is_complete_known from lockstep.mapping where module = $1', [projection.module.apiName]);
  if (known?.fingerprint === projection.fingerprint && known.is_complete_known) return;
  const client = await pool.connect();
  try {
    await client.query('begin');
    // A batch asks for the mapping after it has this table's lock: it waits here, and then sees the new one; those under way end before.
    await client.query('lock table lockstep.projection_offset in share mode');
    await replaceMapping(client, projection);
    await client.query('commit');
  } catch (error) {
    await client.query('rollback').catch(() => undefined);
    throw error;
  } finally {
    client.release();
  }
}

async function replaceMapping(client: Client, { module, fingerprint }: ModuleProjection): Promise<void> {
  const own = mappingOf(module);
  await client.query('insert into lockstep.mapping (module, fingerprint, complete) values ($1, $2, $3) on conflict (module) do nothing', [module.apiName, fingerprint, own]);
  const { rows: [standing] } = await client.query<MappingState & { is_first: boolean }>('select fingerprint, complete, xmin = pg_current_xact_id()::xid as is_first from lockstep.mapping where module = $1 for update', [module.apiName]);
  if (standing === undefined || standing.is_first) return;
  // An earlier build did not note it. What it wrote by the same mapping is complete.
  const complete = standing.fingerprint === fingerprint ? (standing.complete ?? own) : completeUnder(standing.complete, own);
  await client.query('update lockstep.mapping set fingerprint = $2, complete = $3, built_at = now() where module = $1', [module.apiName, fingerprint, complete]);
}

/** The fingerprint of the mapping that is current, or null before the first was adopted. */
export async function standingMapping(client: Client, { module }: Pick<ModuleProjection, 'module'>): Promise<string | null> {
  return (await mappingState(client, module))?.fingerprint ?? null;
}

/** The mapping that is current, and what of the table is filled by it; null before the first was adopted. */
export async function mappingState(client: Client, { apiName }: { readonly apiName: string }): Promise<MappingState | null> {
  const { rows: [row] } = await client.query<{ fingerprint: string; complete: Mapping | null }>('select fingerprint, complete from lockstep.mapping where module = $1', [apiName]);
  return row ?? null;
}

/** Notes that the table is filled by this mapping, unless another one has become current. @returns whether it is noted. */
export async function noteComplete(client: Client, { module, fingerprint }: ModuleProjection): Promise<boolean> {
  const { rowCount } = await client.query('update lockstep.mapping set complete = $3 where module = $1 and fingerprint = $2', [module.apiName, fingerprint, mappingOf(module)]);
  return rowCount === 1;
}
