import type { Database } from './database.ts';
import { epsilonSetting, isAliveSql, isDoubtfulDeathSql, timesOf } from './fold-sql.ts';
import { parkedObservedMs, removalWaitsSql } from './overtaken.ts';

/** What the register holds of a record. Times are epoch milliseconds of the CRM, the hash is 32 hex digits. */
export type RegisterEntry = {
  readonly modifiedMs: number | null;
  /** Where the record was repaired: the time its version competes with, greater than the `Modified_Time` that was read. */
  readonly versionMs?: number;
  readonly observedMs: number | null;
  /** Null also while a removal of the record waits: its row may have given up a value, so a look is to bring all of the content. */
  readonly hash: string | null;
  readonly deletedMs: number | null;
  /** When the CRM last listed it as deleted, as far as is known. */
  readonly listedMs: number | null;
};

/** What is parked of a record. Times are epoch milliseconds of the CRM; null for none. */
export type ParkedEntry = {
  /** The latest deletion that is in the log, but was parked when it was to be applied, resolved or not: the upper bound of its second. */
  readonly deletedMs: number | null;
  /** When the latest content was observed that is parked and not resolved. */
  readonly contentMs: number | null;
};

/** Reads of the register, and the one note that does not come of the log. */
export type RegisterReader = {
  /** @returns what is known of these records; those it says nothing about are unknown. */
  known(module: string, ids: readonly string[]): Promise<Map<string, RegisterEntry>>;
  /** @returns what is parked of these records; those of which nothing ever was are absent. */
  parked(module: string, ids: readonly string[]): Promise<Map<string, ParkedEntry>>;
  /** Notes that a look did not find these records; those that count as deleted stay as they are. The next look that finds one clears it. */
  hidden(module: string, ids: readonly string[]): Promise<void>;
  /** Records that count as deleted, with a deletion since a time. */
  deleted(module: string, since: Date): Promise<string[]>;
  /** Records deleted since a time whose latest look is too close to tell which came first, and that the list has not named late enough since. */
  doubtful(module: string, since: Date, epsilonMs: number): Promise<string[]>;
  /** The earliest deletion, since a time, of a record that is {@link doubtful}; null for none. */
  oldestDoubt(module: string, since: Date, epsilonMs: number): Promise<Date | null>;
};

type Row = { id: string; modified_ms: string | null; version_ms: string | null; observed_ms: string | null; hash: string | null; deleted_ms: string | null; listed_ms: string | null };

/** The register, `lockstep.record_version`. */
export const registerReader = ({ pool }: Pick<Database, 'pool'>): RegisterReader => ({
  known: async (module, ids) => {
    if (ids.length === 0) return new Map();
    const { rows } = await pool.query<Row>(
      `select record_id as id, modified_ms, version_ms, observed_ms, case when not ${removalWaitsSql('r')} then replace(content_hash::text, '-', '') end as hash, deleted_ms, listed_ms
       from lockstep.record_version r where module = $1 and record_id = any($2::bigint[])`,
      [module, ids],
    );
    return new Map(rows.map((row) => [row.id, entryOf(row)]));
  },
  parked: async (module, ids) => {
    if (ids.length === 0) return new Map();
    const { rows } = await pool.query<{ id: string; deleted_ms: string | null; content_ms: string | null }>(
      `select p.record_id as id, max(p.deleted_ms) as deleted_ms, max(${parkedObservedMs}) filter (where p.deleted_ms is null and p.resolved_at is null) as content_ms
       from lockstep.parked p where p.module = $1 and p.record_id = any($2::text[]) group by p.record_id`,
      [module, ids],
    );
    return new Map(rows.map((row) => [row.id, { deletedMs: whole(row.deleted_ms), contentMs: whole(row.content_ms) }]));
  },
  hidden: async (module, ids) => {
    if (ids.length === 0) return;
    await pool.query(
      `update lockstep.record_version r set hidden_since = now() from ${epsilonSetting} e
       where r.module = $1 and r.record_id = any($2::bigint[]) and r.hidden_since is null and ${isAliveSql(timesOf('r'), 'e.ms')}`,
      [module, ids],
    );
  },
  deleted: async (module, since) => {
    const { rows } = await pool.query<{ id: string }>(
      `select r.record_id as id from lockstep.record_version r, ${epsilonSetting} e where r.module = $1 and r.deleted_ms >= $2 and not ${isAliveSql(timesOf('r'), 'e.ms')}`,
      [module, since.getTime()],
    );
    return rows.map(({ id }) => id);
  },
  doubtful: async (module, since, epsilonMs) => {
    const { rows } = await pool.query<{ id: string }>(`select r.record_id as id ${fromDoubtful}`, [module, since.getTime(), epsilonMs]);
    return rows.map(({ id }) => id);
  },
  oldestDoubt: async (module, since, epsilonMs) => {
    const { rows } = await pool.query<{ at: string | null }>(`select min(r.deleted_ms) as at ${fromDoubtful}`, [module, since.getTime(), epsilonMs]);
    const at = whole(rows[0]?.at ?? null);
    return at === null ? null : new Date(at);
  },
});

const fromDoubtful = `from lockstep.record_version r where r.module = $1 and r.deleted_ms >= $2 and ${isDoubtfulDeathSql(timesOf('r'), '$3::bigint')}`;

const entryOf = ({ modified_ms, version_ms, observed_ms, hash, deleted_ms, listed_ms }: Row): RegisterEntry => ({
  modifiedMs: whole(modified_ms),
  ...(version_ms === null ? {} : { versionMs: Number(version_ms) }),
  observedMs: whole(observed_ms),
  hash,
  deletedMs: whole(deleted_ms),
  listedMs: whole(listed_ms),
});

const whole = (text: string | null): number | null => (text === null ? null : Number(text));
