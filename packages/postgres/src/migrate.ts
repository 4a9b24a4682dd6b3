import type { Database } from './database.ts';

// Any constant will do; it must only be the same in every process.
const MIGRATION_LOCK = 7_101_201;

/**
 * Brings schema `lockstep` up to this build, and gives each module its part of the register. Every process calls it at its
 * start; an advisory lock lets one at a time through, and a second run changes nothing.
 * @param modules those in use, by slug and API name.
 */
export async function migrate({ orm, pool }: Database, modules: readonly { readonly slug: string; readonly apiName: string }[]): Promise<void> {
  const client = await pool.connect();
  try {
    await client.query('select pg_advisory_lock($1)', [MIGRATION_LOCK]);
    await orm.migrator.up();
    for (const { slug, apiName } of modules) await client.query(registerPart(slug, apiName));
  } finally {
    // The lock ends with its connection.
    client.release(true);
  }
}

// slug and API name come from a checked module definition: plain identifiers.
const registerPart = (slug: string, apiName: string): string => `
  create table if not exists lockstep.record_version_${slug}
    partition of lockstep.record_version for values in ('${apiName}') with (fillfactor = 85);
  create unique index if not exists record_version_${slug}_key on lockstep.record_version_${slug} (record_id)`;
