import type { Database } from './database.ts';
import { ms } from './epoch.ts';

/**
 * A catch-up's way: `wanted` (the scheduler planned it) → `read` (the ingress has read the window, all of it acknowledged by
 * Kafka) or `too-large` (a bulk run of the same window follows) → `complete` (the watermark was moved). Times are the CRM's.
 */
export type CatchUpState = 'wanted' | 'read' | 'too-large' | 'complete' | 'failed';

export type CatchUpRow = {
  readonly id: number;
  readonly module: string;
  readonly state: CatchUpState;
  readonly from: Date;
  readonly deletedFrom: Date;
  readonly isSecondPass: boolean;
  readonly isRestoreScan: boolean;
  readonly wantedAt: Date;
  /** Not later than the beginning of the first call; null while nothing was asked. */
  readonly startedAt: Date | null;
  readonly bulkRunId: number | null;
  readonly result: CatchUpResult;
};

/** What a catch-up found. */
export type CatchUpResult = {
  readonly rows: number;
  /** Rows that were written in full, because the register did not hold them. */
  readonly seen: number;
  /** Of these, changes without a notification in time. */
  readonly unhinted: number;
  readonly deleted: number;
};

/** The catch-ups of all modules, in `lockstep.catch_up`. */
export type CatchUps = {
  /** @returns false when the module has one under way already. */
  want(module: string, plan: { readonly from: Date; readonly deletedFrom: Date; readonly isSecondPass: boolean; readonly isRestoreScan: boolean }): Promise<boolean>;
  /** Those under way, oldest first. */
  open(): Promise<CatchUpRow[]>;
  /** The latest one of a module, the latest complete second pass, and the latest complete scan for restores. */
  latest(module: string): Promise<{ readonly any?: CatchUpRow; readonly secondPass?: CatchUpRow; readonly restoreScan?: CatchUpRow }>;
  /** Those of a module that were wanted since a time and have been read, oldest first. */
  readSince(module: string, since: Date): Promise<CatchUpRow[]>;
  read(id: number, startedAt: Date, result: CatchUpResult): Promise<void>;
  tooLarge(id: number, startedAt: Date, result: CatchUpResult): Promise<void>;
  continuedBy(id: number, bulkRunId: number): Promise<void>;
  complete(id: number): Promise<void>;
  failed(id: number, failure: string): Promise<void>;
};

const columns = `id, module, state, ${ms('from_time')}, ${ms('deleted_from')}, is_second_pass, is_restore_scan, ${ms('wanted_at')}, ${ms('started_time')}, bulk_run_id, rows, seen, unhinted, deleted`;

type Row = { id: number; module: string; state: CatchUpState; from_time: number; deleted_from: number; is_second_pass: boolean; is_restore_scan: boolean; wanted_at: number; started_time: number | null; bulk_run_id: number | null } & CatchUpResult;

const catchUpOf = (row: Row): CatchUpRow => ({
  id: row.id,
  module: row.module,
  state: row.state,
  from: new Date(row.from_time),
  deletedFrom: new Date(row.deleted_from),
  isSecondPass: row.is_second_pass,
  isRestoreScan: row.is_restore_scan,
  wantedAt: new Date(row.wanted_at),
  startedAt: row.started_time === null ? null : new Date(row.started_time),
  bulkRunId: row.bulk_run_id,
  result: { rows: row.rows, seen: row.seen, unhinted: row.unhinted, deleted: row.deleted },
});

/** Catch-ups in `lockstep.catch_up`. */
export function catchUps({ pool }: Pick<Database, 'pool'>): CatchUps {
  const note = async (id: number, state: CatchUpState, startedAt: Date, { rows, seen, unhinted, deleted }: CatchUpResult): Promise<void> => {
    await pool.query(
      `update lockstep.catch_up set state = $2, started_time = $3, rows = $4, seen = $5, unhinted = $6, deleted = $7, finished_at = now() where id = $1 and state = 'wanted'`,
      [id, state, startedAt, rows, seen, unhinted, deleted],
    );
  };
  const list = async (rest: string, values: unknown[] = []): Promise<CatchUpRow[]> => (await pool.query<Row>(`select ${columns} from lockstep.catch_up ${rest}`, values)).rows.map(catchUpOf);
  return {
    want: async (module, { from, deletedFrom, isSecondPass, isRestoreScan }) => {
      const { rowCount } = await pool.query(
        `insert into lockstep.catch_up (module, state, from_time, deleted_from, is_second_pass, is_restore_scan) values ($1, 'wanted', $2, $3, $4, $5) on conflict do nothing`,
        [module, from, deletedFrom, isSecondPass, isRestoreScan],
      );
      return rowCount === 1;
    },
    open: () => list(`where state in ('wanted', 'read', 'too-large') order by id`),
    latest: async (module) => {
      const last = async (condition: string): Promise<CatchUpRow | undefined> => (await list(`where module = $1 and ${condition} order by id desc limit 1`, [module]))[0];
      const [any, secondPass, restoreScan] = await Promise.all([last('true'), last(`is_second_pass and state = 'complete'`), last(`is_restore_scan and state = 'complete'`)]);
      return { ...(any && { any }), ...(secondPass && { secondPass }), ...(restoreScan && { restoreScan }) };
    },
    readSince: (module, since) =>
      // The later ones by id: the index has no times.
      list(
        `where module = $1 and state in ('read', 'too-large', 'complete')
           and id > (select coalesce(max(id), 0) from lockstep.catch_up where module = $1 and wanted_at < $2) order by id`,
        [module, since],
      ),
    read: (id, startedAt, result) => note(id, 'read', startedAt, result),
    tooLarge: (id, startedAt, result) => note(id, 'too-large', startedAt, result),
    continuedBy: async (id, bulkRunId) => void (await pool.query('update lockstep.catch_up set bulk_run_id = $2 where id = $1', [id, bulkRunId])),
    complete: async (id) => void (await pool.query(`update lockstep.catch_up set state = 'complete' where id = $1`, [id])),
    failed: async (id, failure) => void (await pool.query(`update lockstep.catch_up set state = 'failed', failure = $2, finished_at = now() where id = $1`, [id, failure])),
  };
}
