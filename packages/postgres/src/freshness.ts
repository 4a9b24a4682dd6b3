import type { Database } from './database.ts';
import { ms } from './epoch.ts';

/** How fresh a module's table is, as the view `lockstep.freshness` has it. Times are the CRM's; null before the first claim. */
export type Freshness = {
  readonly module: string;
  /** Every change before this stands in the table, but for what is parked. */
  readonly seenUpTo: Date | null;
  /** Up to here no newer content of the same second, and no doubt about a deletion, is outstanding. */
  readonly settledUpTo: Date | null;
  /** When the whole module was read last. */
  readonly refreshedAt: Date | null;
  readonly parked: number;
  readonly hidden: number;
  readonly unsettled: number;
};

type Row = Omit<Freshness, 'seenUpTo' | 'settledUpTo' | 'refreshedAt'> & { seenUpTo: number | null; settledUpTo: number | null; refreshedAt: number | null };

/** Reads the view; it counts over the whole register. */
export async function readFreshness({ pool }: Pick<Database, 'pool'>): Promise<readonly Freshness[]> {
  const { rows } = await pool.query<Row>(
    `select module, ${ms('seen_up_to', 'seenUpTo')}, ${ms('settled_up_to', 'settledUpTo')}, ${ms('refreshed_at', 'refreshedAt')},
       parked::int as parked, hidden::int as hidden, unsettled::int as unsettled from lockstep.freshness order by module`,
  );
  return rows.map((row) => ({ ...row, seenUpTo: dateOf(row.seenUpTo), settledUpTo: dateOf(row.settledUpTo), refreshedAt: dateOf(row.refreshedAt) }));
}

const dateOf = (epochMs: number | null): Date | null => (epochMs === null ? null : new Date(epochMs));
