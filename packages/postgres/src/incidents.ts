import type { Database } from './database.ts';
import { ms } from './epoch.ts';

/**
 * What an incident is about; `docs/runbook.md` has a section for each.
 * - `channel-lost`: the CRM no longer lists the module's channel as it was requested, it ran out, or it can be neither enabled nor extended; that is tried again.
 * - `channel-shortened`: the CRM granted less than was requested, or ends the channel sooner than it granted.
 * - `channel-deaf`: the channel is silent: catch-ups keep finding changes without a notification.
 * - `catch-up-late`: no catch-up has been completed for a while, whatever the reason.
 * - `deletions-held`: more deletions than are believed without a person.
 * - `records-hidden`: records that are not deleted cannot be seen any more: a permission, a sharing rule, a filter.
 * - `count-differs`: the CRM counts another number of records than the register holds.
 * - `modified-in-future`: records bear a modified time that is yet to come.
 * - `credits-low`: others have spent of the reserve of the day's credits; looks wait.
 * - `credits-scarce`: looks and catch-ups are rarer than they would be with more credits.
 * - `clock-differs`: the CRM's `Date`, a process's wall clock, its monotonic clock or the database's clock contradicts the others; it
 *   is not believed for as long as that lasts. Set right the one that the details name.
 * - `future-repaired`: claims or register entries lay in the future, and were cut back; what they hid is read again. It closes by
 *   itself once an hour has passed without another one.
 * - `refresh-waits`: a module is due to be read again, and that would touch the reserve of credits.
 * - `load-failing`: the first load or a refresh of a module fails, or waits for a page that cannot be read.
 * - `catch-up-failing`: catch-ups of a module fail, one after another.
 * - `page-unreadable`: a page of a bulk run was requested more than once in vain, or its result cannot be taken; the pauses between the attempts grow to six hours.
 * - `restore-scan-failing`: the list of deletions cannot be read over its whole depth, so restores of earlier deletions are not noticed.
 * - `projector-halted`: partitions of a module are not applied until their cause is gone.
 * - `hints-unread`: stored notifications of a partition cannot be read; catch-ups find what they announced, later.
 * - `partition-stuck`: the oldest message of a partition has waited for longer than a minute, though the partition is not halted.
 * - `messages-parked`: messages could not be applied; they wait for what they conflict with, or for a person.
 * - `records-unreadable`: looks at records fail; they are kept aside and repeated less and less often.
 * - `dead-letters`: rows, replies or entries of lists could not be read; the others of them were.
 * - `field-missing`: the CRM refuses to read a mapped field; its column keeps what it holds.
 * - `table-differs`: register or table were not what the log says when they were last compared; someone changed them.
 * - `verification-failed`: register and table could not be compared with the log.
 */
export const incidentKinds = [
  'channel-lost',
  'channel-shortened',
  'channel-deaf',
  'catch-up-late',
  'deletions-held',
  'records-hidden',
  'count-differs',
  'modified-in-future',
  'credits-low',
  'credits-scarce',
  'clock-differs',
  'future-repaired',
  'refresh-waits',
  'load-failing',
  'catch-up-failing',
  'page-unreadable',
  'restore-scan-failing',
  'projector-halted',
  'hints-unread',
  'partition-stuck',
  'messages-parked',
  'records-unreadable',
  'dead-letters',
  'field-missing',
  'table-differs',
  'verification-failed',
] as const;
export type IncidentKind = (typeof incidentKinds)[number];

/** One thing that people ought to know of. Times are the database's. */
export type Incident = {
  readonly id: number;
  /** API name, or `''` for the organisation. */
  readonly module: string;
  readonly kind: IncidentKind;
  readonly openedAt: Date;
  readonly lastSeenAt: Date;
  readonly closedAt: Date | null;
  readonly details: string;
};

/** The incidents of an installation: a report for people. Nothing depends on an incident having been noticed. */
export type Incidents = {
  /** Notes that it is so now; an open one of the same module and kind is brought up to date. @returns true when it is new. */
  open(module: string, kind: IncidentKind, details: string): Promise<boolean>;
  /** Notes that it is so no more. @returns true when one was open. */
  close(module: string, kind: IncidentKind): Promise<boolean>;
  /** Newest first; without `all`, only those that are open. */
  list(options?: { readonly all?: boolean; readonly limit?: number }): Promise<Incident[]>;
};

type Row = Omit<Incident, 'openedAt' | 'lastSeenAt' | 'closedAt'> & { opened_at: number; last_seen_at: number; closed_at: number | null };

/** Incidents in `lockstep.incident`. */
export const incidents = ({ pool }: Pick<Database, 'pool'>): Incidents => ({
  open: async (module, kind, details) => {
    const { rows } = await pool.query<{ is_new: boolean }>(
      `insert into lockstep.incident (module, kind, details) values ($1, $2, $3)
       on conflict (module, kind) where closed_at is null do update set last_seen_at = now(), details = excluded.details
       returning xmax = 0 as is_new`,
      [module, kind, details],
    );
    return rows[0]?.is_new === true;
  },
  close: async (module, kind) => {
    const { rowCount } = await pool.query('update lockstep.incident set closed_at = now() where module = $1 and kind = $2 and closed_at is null', [module, kind]);
    return rowCount === 1;
  },
  list: async ({ all = false, limit = 100 } = {}) => {
    const { rows } = await pool.query<Row>(
      `select id, module, kind, ${ms('opened_at')}, ${ms('last_seen_at')}, ${ms('closed_at')}, details from lockstep.incident
       where $1 or closed_at is null order by opened_at desc, id desc limit $2`,
      [all, limit],
    );
    return rows.map(({ opened_at: openedAt, last_seen_at: lastSeenAt, closed_at: closedAt, ...row }) => ({ ...row, openedAt: new Date(openedAt), lastSeenAt: new Date(lastSeenAt), closedAt: closedAt === null ? null : new Date(closedAt) }));
  },
});
