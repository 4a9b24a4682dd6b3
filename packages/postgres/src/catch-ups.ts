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
  /** How far back the list of deletions is to be read for restores, after the catch-up itself; null where it is not. */
  readonly scanFrom: Date | null;
  /** How far back it was read, and what kept it from being read further. */
  readonly scannedFrom: Date | null;
  readonly scanFailure: string | null;
  readonly wantedAt: Date;
  /** Not later than the beginning of the first call; null while nothing was asked. */
  readonly startedAt: Date | null;
  /** Of one that was too large: every change before this time was read. */
  readonly readUpTo: Date | null;
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
  want(module: string, plan: { readonly from: Date; readonly deletedFrom: Date; readonly isSecondPass: boolean; readonly isRestoreScan: boolean; readonly scanFrom?: Date | null }): Promise<boolean>;
  /** Those under way, oldest first. */
  open(): Promise<CatchUpRow[]>;
  /** The latest one of a module, the latest complete second pass, the latest scan for restores that reached its depth, the latest that was tried, and the latest that came to an end. */
  latest(module: string): Promise<{ readonly any?: CatchUpRow; readonly secondPass?: CatchUpRow; readonly restoreScan?: CatchUpRow; readonly scanTried?: CatchUpRow; readonly scanned?: CatchUpRow }>;
  /** How many have failed since one was complete, and why the last of them did. */
  failing(module: string): Promise<{ readonly failures: number; readonly cause: string | null }>;
  /** Those of a module that were wanted since a time and have been read, oldest first. */
  readSince(module: string, since: Date): Promise<CatchUpRow[]>;
  read(id: number, startedAt: Date, result: CatchUpResult): Promise<void>;
  /** @param readUpTo every change before it was read. */
  tooLarge(id: number, startedAt: Date, result: CatchUpResult, readUpTo?: Date | null): Promise<void>;
  /** How far back the scan for restores came, null for not at all, and what kept it from coming further. */
  scanned(id: number, scannedFrom: Date | null, failure: string | null): Promise<void>;
  continuedBy(id: number, bulkRunId: number): Promise<void>;
  complete(id: number): Promise<void>;
  failed(id: number, failure: string): Promise<void>;
};

const columns = `id, module, state, ${ms('from_time')}, ${ms('deleted_from')}, is_second_pass, is_restore_scan, ${ms('scan_from')}, ${ms('scanned_from')}, scan_failure, ${ms('wanted_at')}, ${ms('started_time')}, ${ms('read_up_to')}, bulk_run_id, rows, seen, unhinted, deleted`;

type Row = { id: number; module: string; state: CatchUpState; from_time: number; deleted_from: number; is_second_pass: boolean; is_restore_scan: boolean; scan_from: number | null; scanned_from: number | null; scan_failure: string | null; wanted_at: number; started_time: number | null; read_up_to: number | null; bulk_run_id: number | null } & CatchUpResult;

const dateOf = (at: number | null): Date | null => (at === null ? null : new Date(at));

const catchUpOf = (row: Row): CatchUpRow => ({
  id: row.id,
  module: row.module,
  state: row.state,
  from: new Date(row.from_time),
  deletedFrom: new Date(row.deleted_from),
  isSecondPass: row.is_second_pass,
  isRestoreScan: row.is_restore_scan,
  scanFrom: dateOf(row.scan_from),
  scannedFrom: dateOf(row.scanned_from),
  scanFailure: row.scan_failure,
  wantedAt: new Date(row.wanted_at),
  startedAt: dateOf(row.started_time),
  readUpTo: dateOf(row.read_up_to),
  bulkRunId: row.bulk_run_id,
  result: { rows: row.rows, seen: row.seen, unhinted: row.unhinted, deleted: row.deleted },
});

/** The scans for restores since the last that reached its depth, none of them under way. */
const scansInVain = `module = $1 and is_restore_scan and state in ('complete', 'failed')
  and id > (select coalesce(max(id), 0) from lockstep.catch_up where module = $1 and is_restore_scan and state = 'complete' and (scan_from is null or scanned_from <= scan_from))`;

/**
 * Lets a scan for restores be tried at once whose last attempt did not reach its depth; while a catch-up is under way, by the next one.
 * @returns false where none has failed.
 */
export async function restoreScanDueNow({ pool }: Pick<Database, 'pool'>, module: string): Promise<boolean> {
  // The window is that of the latest catch-up: to read from an earlier time on changes nothing.
  const { rowCount } = await pool.query(
    `insert into lockstep.catch_up (module, state, from_time, deleted_from, is_second_pass, is_restore_scan, scan_from)
     select $1, 'wanted', l.from_time, l.deleted_from, false, true, s.scan_from
     from (select scan_from from lockstep.catch_up where ${scansInVain} and scan_from is not null order by id desc limit 1) s,
       (select from_time, deleted_from from lockstep.catch_up where module = $1 order by id desc limit 1) l
     on conflict do nothing`,
    [module],
  );
  if (rowCount === 1) return true;
  // What was not tried is due.
  return ((await pool.query(`update lockstep.catch_up set is_restore_scan = false where ${scansInVain}`, [module])).rowCount ?? 0) > 0;
}

/** Catch-ups in `lockstep.catch_up`. */
export function catchUps({ pool }: Pick<Database, 'pool'>): CatchUps {
  const note = async (id: number, state: CatchUpState, startedAt: Date, { rows, seen, unhinted, deleted }: CatchUpResult, readUpTo: Date | null = null): Promise<void> => {
    await pool.query(
      `update lockstep.catch_up set state = $2, started_time = $3, rows = $4, seen = $5, unhinted = $6, deleted = $7, read_up_to = $8, finished_at = now() where id = $1 and state = 'wanted'`,
      [id, state, startedAt, rows, seen, unhinted, deleted, readUpTo],
    );
  };
  const list = async (rest: string, values: unknown[] = []): Promise<CatchUpRow[]> => (await pool.query<Row>(`select ${columns} from lockstep.catch_up ${rest}`, values)).rows.map(catchUpOf);
  return {
    want: async (module, { from, deletedFrom, isSecondPass, isRestoreScan, scanFrom = null }) => {
      const { rowCount } = await pool.query(
        `insert into lockstep.catch_up (module, state, from_time, deleted_from, is_second_pass, is_restore_scan, scan_from) values ($1, 'wanted', $2, $3, $4, $5, $6) on conflict do nothing`,
        [module, from, deletedFrom, isSecondPass, isRestoreScan, scanFrom],
      );
      return rowCount === 1;
    },
    open: () => list(`where state in ('wanted', 'read', 'too-large') order by id`),
    latest: async (module) => {
      const last = async (condition: string): Promise<CatchUpRow | undefined> => (await list(`where module = $1 and ${condition} order by id desc limit 1`, [module]))[0];
      const [any, secondPass, restoreScan, scanTried, scanned] = await Promise.all([last('true'), last(`is_second_pass and state = 'complete'`), last(`is_restore_scan and state = 'complete' and (scan_from is null or scanned_from <= scan_from)`), last('is_restore_scan'), last('(scanned_from is not null or scan_failure is not null)')]);
      return { ...(any && { any }), ...(secondPass && { secondPass }), ...(restoreScan && { restoreScan }), ...(scanTried && { scanTried }), ...(scanned && { scanned }) };
    },
    failing: async (module) => {
      const { rows } = await pool.query<{ failures: number; cause: string | null }>(
        `select count(*)::int as failures, (array_agg(failure order by id desc))[1] as cause from lockstep.catch_up
         where module = $1 and state = 'failed' and id > (select coalesce(max(id), 0) from lockstep.catch_up where module = $1 and state = 'complete')`,
        [module],
      );
      return rows[0] ?? { failures: 0, cause: null };
    },
    readSince: (module, since) =>
      // The later ones by id: the index has no times.
      list(
        `where module = $1 and state in ('read', 'too-large', 'complete')
           and id > (select coalesce(max(id), 0) from lockstep.catch_up where module = $1 and wanted_at < $2) order by id`,
        [module, since],
      ),
    read: (id, startedAt, result) => note(id, 'read', startedAt, result),
    tooLarge: (id, startedAt, result, readUpTo) => note(id, 'too-large', startedAt, result, readUpTo),
    scanned: async (id, scannedFrom, failure) => void (await pool.query('update lockstep.catch_up set scanned_from = $2, scan_failure = $3 where id = $1', [id, scannedFrom, failure])),
    continuedBy: async (id, bulkRunId) => void (await pool.query('update lockstep.catch_up set bulk_run_id = $2 where id = $1 and bulk_run_id is null', [id, bulkRunId])),
    complete: async (id) => void (await pool.query(`update lockstep.catch_up set state = 'complete' where id = $1 and state in ('read', 'too-large')`, [id])),
    failed: async (id, failure) => void (await pool.query(`update lockstep.catch_up set state = 'failed', failure = $2, finished_at = now() where id = $1 and state in ('wanted', 'read', 'too-large')`, [id, failure])),
  };
}
