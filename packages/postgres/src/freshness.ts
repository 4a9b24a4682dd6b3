import type { Database } from './database.ts';
import { ms } from './epoch.ts';

/** How fresh a module's table is, as the view `lockstep.freshness` has it. Times are the CRM's; null before the first claim. */
export type Freshness = {
  readonly module: string;
  /** Every change before this stands in the table, but for what is parked, kept aside or a dead letter, and for fields that are missing. */
  readonly seenUpTo: Date | null;
  /** Up to here no newer content of the same second, and no doubt about a deletion, is outstanding. */
  readonly settledUpTo: Date | null;
  /** When the whole module was read last. */
  readonly refreshedAt: Date | null;
  readonly parked: number;
  readonly hidden: number;
  readonly unsettled: number;
  /** Since when nothing of it is applied, because a person paused it. */
  readonly pausedSince: Date | null;
  /** When register and table were last compared with the log, by the database's clock, and how many records differed then; null before the first time. */
  readonly verifiedAt: Date | null;
  readonly differences: number | null;
  /** Records whose looks fail, and what could not be read at all: what the times above passed over. */
  readonly keptAside: number;
  readonly deadLetters: number;
  /** Mapped fields that the CRM refuses, or has given back and whose values are still to be read. */
  readonly missingFields: number;
  /** Why changes arrive later than they would with more API credits; null while they do not. */
  readonly coarserBecause: string | null;
};

type Times = 'seenUpTo' | 'settledUpTo' | 'refreshedAt' | 'pausedSince' | 'verifiedAt';
type Row = Omit<Freshness, Times> & Record<Times, number | null>;

/** Reads the view; it counts over the whole register. */
export async function readFreshness({ pool }: Pick<Database, 'pool'>): Promise<readonly Freshness[]> {
  const { rows } = await pool.query<Row>(
    `select module, ${ms('seen_up_to', 'seenUpTo')}, ${ms('settled_up_to', 'settledUpTo')}, ${ms('refreshed_at', 'refreshedAt')}, ${ms('paused_since', 'pausedSince')},
       parked::int as parked, hidden::int as hidden, unsettled::int as unsettled, ${ms('verified_at', 'verifiedAt')}, differences::int as differences, kept_aside::int as "keptAside", dead_letters::int as "deadLetters", missing_fields::int as "missingFields",
       (select details from lockstep.incident where module = '' and kind = 'credits-scarce' and closed_at is null) as "coarserBecause"
     from lockstep.freshness order by module`,
  );
  return rows.map((row) => ({ ...row, seenUpTo: dateOf(row.seenUpTo), settledUpTo: dateOf(row.settledUpTo), refreshedAt: dateOf(row.refreshedAt), pausedSince: dateOf(row.pausedSince), verifiedAt: dateOf(row.verifiedAt) }));
}

const dateOf = (epochMs: number | null): Date | null => (epochMs === null ? null : new Date(epochMs));
