import type { Database } from './database.ts';
import { ms } from './epoch.ts';

/** What came of comparing a module's register and table with its log. */
export type VerificationNote = {
  readonly module: string;
  readonly topicId: string;
  /** The offsets up to which the log was folded, partition 0 first. */
  readonly endOffsets: readonly number[];
  /** Records that the log knows. */
  readonly records: number;
  /** Records that differed, and the first of them for people. */
  readonly differences: number;
  readonly found: readonly object[];
};

/** The last comparison of each module, in `lockstep.verification`. Times are the database's. */
export type Verifications = {
  note(verification: VerificationNote): Promise<void>;
  /** Null where there was none. */
  last(module: string): Promise<{ readonly verifiedAt: Date; readonly differences: number } | null>;
};

/** Verifications in `lockstep.verification`. */
export const verifications = ({ pool }: Pick<Database, 'pool'>): Verifications => ({
  note: async ({ module, topicId, endOffsets, records, differences, found }) => {
    await pool.query(
      `insert into lockstep.verification (module, topic_id, end_offsets, records, differences, found) values ($1, $2, $3, $4, $5, $6)
       on conflict (module) do update set verified_at = now(), topic_id = excluded.topic_id, end_offsets = excluded.end_offsets, records = excluded.records, differences = excluded.differences, found = excluded.found`,
      [module, topicId, endOffsets, records, differences, JSON.stringify(found)],
    );
  },
  last: async (module) => {
    const { rows: [row] } = await pool.query<{ at: number; differences: string }>(`select ${ms('verified_at', 'at')}, differences from lockstep.verification where module = $1`, [module]);
    return row === undefined ? null : { verifiedAt: new Date(row.at), differences: Number(row.differences) };
  },
});
