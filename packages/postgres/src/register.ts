import type { Database } from './database.ts';

/** What the register holds of a record. Times are epoch milliseconds of the CRM, the hash is 32 hex digits. */
export type RegisterEntry = {
  readonly modifiedMs: number | null;
  /** Where the record was repaired: the time its version competes with, greater than the `Modified_Time` that was read. */
  readonly versionMs?: number;
  readonly observedMs: number | null;
  readonly hash: string | null;
  readonly deletedMs: number | null;
};

/** Reads of the register, and the one note that does not come of the log. */
export type RegisterReader = {
  /** @returns what is known of these records; those it says nothing about are unknown. */
  known(module: string, ids: readonly string[]): Promise<Map<string, RegisterEntry>>;
  /** Notes that a look did not find these records, though nothing says that they are deleted. The next look that finds one clears it. */
  hidden(module: string, ids: readonly string[]): Promise<void>;
  /** Records that count as deleted, with a deletion since a time. */
  deleted(module: string, since: Date): Promise<string[]>;
  /** Records whose deletion and latest look are too close to tell which came first, deleted since a time. */
  doubtful(module: string, since: Date, epsilonMs: number): Promise<string[]>;
};

type Row = { id: string; modified_ms: string | null; version_ms: string | null; observed_ms: string | null; hash: string | null; deleted_ms: string | null };

/** The register, `lockstep.record_version`. */
export const registerReader = ({ pool }: Pick<Database, 'pool'>): RegisterReader => ({
  known: async (module, ids) => {
    if (ids.length === 0) return new Map();
    const { rows } = await pool.query<Row>(
      `select record_id as id, modified_ms, version_ms, observed_ms, replace(content_hash::text, '-', '') as hash, deleted_ms
       from lockstep.record_version where module = $1 and record_id = any($2::bigint[])`,
      [module, ids],
    );
    return new Map(rows.map((row) => [row.id, entryOf(row)]));
  },
  hidden: async (module, ids) => {
    if (ids.length === 0) return;
    await pool.query(
      `update lockstep.record_version set hidden_since = now()
       where module = $1 and record_id = any($2::bigint[]) and hidden_since is null and deleted_ms is null`,
      [module, ids],
    );
  },
  deleted: async (module, since) => {
    const { rows } = await pool.query<{ id: string }>(
      `select record_id as id from lockstep.record_version, lockstep.setting
       where name = 'epsilon_ms' and module = $1 and deleted_ms >= $2 and (observed_ms is null or observed_ms <= deleted_ms + value::bigint)`,
      [module, since.getTime()],
    );
    return rows.map(({ id }) => id);
  },
  doubtful: async (module, since, epsilonMs) => {
    const { rows } = await pool.query<{ id: string }>(
      `select record_id as id from lockstep.record_version
       where module = $1 and deleted_ms >= $2 and abs(observed_ms - deleted_ms) <= $3`,
      [module, since.getTime(), epsilonMs],
    );
    return rows.map(({ id }) => id);
  },
});

const entryOf = ({ modified_ms, version_ms, observed_ms, hash, deleted_ms }: Row): RegisterEntry => ({
  modifiedMs: whole(modified_ms),
  ...(version_ms === null ? {} : { versionMs: Number(version_ms) }),
  observedMs: whole(observed_ms),
  hash,
  deletedMs: whole(deleted_ms),
});

const whole = (text: string | null): number | null => (text === null ? null : Number(text));
