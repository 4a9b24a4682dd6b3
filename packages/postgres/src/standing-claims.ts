import type { Database } from './database.ts';
import { ms } from './epoch.ts';
import type { Claim } from './watermarks.ts';

/** A claim without its module and kind. */
export type StandingClaim = Pick<Claim, 'at' | 'topicId' | 'endOffsets'>;

/** The greatest claims of a module; null where there is none. */
export type StandingClaims = {
  readonly changes: StandingClaim | null;
  /** With the number of records that the CRM counted when that reading began; null where it would not say. */
  readonly everything: (StandingClaim & { readonly expectedRows: number | null }) | null;
};

type Row = { readonly kind: Claim['kind']; readonly at: number; readonly topic_id: string; readonly end_offsets: readonly string[]; readonly expected_rows: number | null };

/** What is claimed of a module now. */
export async function readStandingClaims({ pool }: Pick<Database, 'pool'>, module: string): Promise<StandingClaims> {
  const { rows } = await pool.query<Row>(
    `select distinct on (w.kind) w.kind, ${ms('w.at', 'at')}, w.topic_id, w.end_offsets,
       (select r.expected_rows from lockstep.bulk_run r where r.module = w.module and r.kind <> 'catch-up' and r.first_job_created_at = w.at order by r.id desc limit 1) as expected_rows
     from lockstep.watermark w where w.module = $1 order by w.kind, w.at desc`,
    [module],
  );
  const claimOf = (kind: Claim['kind']) => {
    const row = rows.find((one) => one.kind === kind);
    return row === undefined ? null : { at: new Date(row.at), topicId: row.topic_id, endOffsets: row.end_offsets.map(Number), expectedRows: row.expected_rows };
  };
  const changes = claimOf('changes');
  return { changes: changes === null ? null : { at: changes.at, topicId: changes.topicId, endOffsets: changes.endOffsets }, everything: claimOf('everything') };
}

/** The modules of which something is claimed, by API name. */
export async function claimedModules({ pool }: Pick<Database, 'pool'>): Promise<string[]> {
  const { rows } = await pool.query<{ module: string }>('select distinct module from lockstep.watermark order by module');
  return rows.map(({ module }) => module);
}

/** Whether anything is known of how far a module was read: a claim, or a run of any kind. */
export async function isReadingKnown({ pool }: Pick<Database, 'pool'>, module: string): Promise<boolean> {
  const { rows: [row] } = await pool.query<{ is_known: boolean }>(
    'select exists (select from lockstep.watermark where module = $1) or exists (select from lockstep.bulk_run where module = $1) as is_known',
    [module],
  );
  return row?.is_known === true;
}

/**
 * Whether the claims of a module were restored, and its tables have not come to their offsets: a register that is being filled again says nothing of what is missing
 * in it. A first load that was restored has no pages.
 */
export async function isReplaying({ pool }: Pick<Database, 'pool'>, module: string): Promise<boolean> {
  const { rows: [row] } = await pool.query<{ is_replaying: boolean }>(
    `select exists (select from lockstep.bulk_run r where r.module = $1 and r.kind = 'initial' and r.state = 'complete' and not exists (select from lockstep.bulk_page p where p.run_id = r.id))
       and not exists (select from lockstep.freshness where module = $1 and refreshed_at is not null) as is_replaying`,
    [module],
  );
  return row?.is_replaying === true;
}

/**
 * Notes claims of a database that was lost, and the first load that they say was completed, in one transaction; unless something is known of the module.
 * @returns whether they were noted.
 * @throws an error of the database, a duplicate key, where another process does the same at the same moment; then nothing of it is noted twice.
 */
export async function noteLostClaims({ pool }: Pick<Database, 'pool'>, module: string, { changes, everything }: StandingClaims & { readonly everything: NonNullable<StandingClaims['everything']> }): Promise<boolean> {
  const claims = [{ kind: 'everything', ...everything }, ...(changes === null ? [] : [{ kind: 'changes', ...changes }])];
  const { rowCount } = await pool.query(
    `with unknown as (select where not exists (select from lockstep.watermark where module = $1) and not exists (select from lockstep.bulk_run where module = $1)),
     load as (
       insert into lockstep.bulk_run (module, kind, state, started_at, finished_at, first_job_created_at, expected_rows)
       select $1, 'initial', 'complete', now(), now(), $2::timestamptz, $3::integer from unknown)
     insert into lockstep.watermark (module, kind, at, topic_id, end_offsets)
     select $1, c.kind, c.at, c.topic_id, (select array_agg(e::bigint) from jsonb_array_elements_text(c.end_offsets) e)
     from unknown, jsonb_to_recordset($4::jsonb) as c (kind text, at timestamptz, topic_id text, end_offsets jsonb)`,
    [module, everything.at, everything.expectedRows, JSON.stringify(claims.map(({ kind, at, topicId, endOffsets }) => ({ kind, at, topic_id: topicId, end_offsets: endOffsets })))],
  );
  return rowCount !== 0;
}
