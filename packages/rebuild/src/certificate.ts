import type { ModuleProjection } from '@lockstep/projection';
import type { PoolClient } from 'pg';

import { RebuildError } from './errors.ts';
import { lendClient } from './lend-client.ts';
import { quote } from './quote.ts';
import type { Shadow } from './shadow.ts';
import { inSnapshot, standsNowhere, type Verification, type VerifyDeps, type VerifyOptions } from './verify-module.ts';

/**
 * That a table holds what its log amounts to, with all that it takes to work that out again: `outsider/check-certificate.mjs` does, from topic and table alone.
 * Times are ISO 8601 in UTC.
 */
export type Certificate = Pick<Verification, 'module' | 'topic' | 'topicId' | 'positions' | 'messages' | 'records'> & {
  readonly version: 1;
  readonly issuedAt: string;
  readonly table: { readonly schema: string; readonly name: string };
  readonly rows: number;
  /** SHA-256, in hex, over the sorted SHA-256 of each row's text in Postgres: key, modified time, mark of deletion and `columns`, in this order. */
  readonly digest: string;
  /** Up to when the CRM was read, as `lockstep.freshness` says; null before the first claim. */
  readonly completeTo: string | null;
  readonly keyColumn: string;
  readonly modifiedTimeColumn: string;
  /** Null where rows of deleted records are removed. */
  readonly deletedColumn: string | null;
  /** The columns that the digest covers, by CRM field. */
  readonly columns: Readonly<Record<string, string>>;
  /** Mapped columns that it does not cover: a trigger may change them, or no content of some records speaks of them. */
  readonly columnsLeftOut: readonly string[];
  /** How far apart two clocks of the CRM may be, in milliseconds. */
  readonly epsilonMs: number;
  /** Places of messages that are parked and stand nowhere. */
  readonly parked: readonly { readonly partition: number; readonly offset: number }[];
};

/**
 * Compares a module's register and table with its log, as `verifyModule` does, and certifies that they are equal, all of it in one snapshot.
 * @throws {RebuildError} `DIFFERENT` when they are not; else see `verifyModule`.
 */
export async function certifyModule(deps: VerifyDeps, projection: ModuleProjection, options: VerifyOptions = {}): Promise<Certificate> {
  const client = await lendClient(deps.pool);
  try {
    await client.query('begin isolation level repeatable read');
    const { verification, shadow } = await inSnapshot(client, deps, projection, options);
    const kinds = Object.entries(verification.counts).map(([kind, count]) => `${kind}: ${count}`);
    if (kinds.length > 0) throw new RebuildError(`register and table of ${verification.module} are not what the log says: ${kinds.join('; ')}. "lockstep verify" names them, "lockstep rebuild" writes them`, 'DIFFERENT');
    return await certificateOf(client, projection, shadow, verification);
  } finally {
    // The temporary tables go with it.
    await client.query('rollback').then(() => client.release(), (error: Error) => client.release(error));
  }
}

async function certificateOf(client: PoolClient, projection: ModuleProjection, shadow: Shadow, { module, topic, topicId, positions, messages, records }: Verification): Promise<Certificate> {
  const { module: { table, keyColumn, modifiedTimeColumn, onDelete, fields }, epsilonMs } = projection;
  const spoken: ReadonlySet<string>[] = [];
  for (const layering of shadow.layerings) spoken.push(new Set((await Promise.all(layering.map((coverage) => projection.fieldsOf(client, coverage)))).flat()));
  const isCovered = ({ field, onTriggerChange }: (typeof fields)[number]): boolean => onTriggerChange !== 'accept' && spoken.every((names) => names.has(field));
  const columns = Object.fromEntries(fields.filter(isCovered).map(({ field, column }) => [field, column]));
  const deletedColumn = onDelete.action === 'mark' ? onDelete.deletedColumn : null;
  const digested = [keyColumn, modifiedTimeColumn, ...(deletedColumn === null ? [] : [deletedColumn]), ...Object.values(columns)];
  return {
    version: 1,
    issuedAt: new Date().toISOString(),
    module,
    table,
    topic,
    topicId,
    positions,
    messages,
    records,
    ...(await digestOf(client, table, digested)),
    completeTo: await completeTo(client, module),
    keyColumn,
    modifiedTimeColumn,
    deletedColumn,
    columns,
    columnsLeftOut: fields.filter((field) => !isCovered(field)).map(({ column }) => column),
    epsilonMs,
    parked: await parkedPlaces(client, topicId),
  };
}

async function digestOf(client: PoolClient, { schema, name }: Certificate['table'], columns: readonly string[]): Promise<Pick<Certificate, 'rows' | 'digest'>> {
  const { rows: [row] } = await client.query<{ rows: string; digest: string }>(
    `select count(*) as rows, encode(sha256(coalesce(string_agg(hash, '' order by hash), '')), 'hex') as digest
     from (select sha256(convert_to(row(${columns.map(quote).join(', ')})::text, 'UTF8')) as hash from ${quote(schema)}.${quote(name)} where ${quote(columns[0] as string)} is not null) hashed`,
  );
  return { rows: Number(row?.rows), digest: row?.digest as string };
}

async function completeTo(client: PoolClient, module: string): Promise<string | null> {
  const { rows: [row] } = await client.query<{ at: string | null }>(`select to_char(seen_up_to at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') as at from lockstep.freshness where module = $1`, [module]);
  return row?.at ?? null;
}

async function parkedPlaces(client: PoolClient, topicId: string): Promise<Certificate['parked']> {
  const { rows } = await client.query<{ partition: number; offset: string }>(`select partition, log_offset as "offset" from lockstep.parked where topic_id = $1 and ${standsNowhere} order by 1, 2`, [topicId]);
  return rows.map(({ partition, offset }) => ({ partition, offset: Number(offset) }));
}
