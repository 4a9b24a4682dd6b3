import type { Database } from './database.ts';
import { ms } from './epoch.ts';

/** A message that could not be applied: it waits for what it conflicts with, or for a person. */
export type ParkedMessage = {
  readonly id: string;
  readonly module: string;
  readonly topic: string;
  readonly partition: number;
  readonly offset: string;
  readonly recordId: string | null;
  readonly code: string;
  readonly cause: string;
  /** Whether it is tried again by itself. */
  readonly isWaiting: boolean;
  readonly tries: number;
  readonly parkedAt: Date;
  readonly triedAt: Date;
  readonly resolvedAt: Date | null;
  readonly discardedBecause: string | null;
};

/** Parked messages, for people. */
export type ParkedMessages = {
  /** Newest first. @param module all modules by default. @param all those that are over as well. */
  list(options: { readonly module?: string; readonly all?: boolean; readonly limit: number }): Promise<ParkedMessage[]>;
  /** One with its event, where that was kept; undefined where there is none of this id. */
  find(id: string): Promise<(ParkedMessage & { readonly value: Buffer | null }) | undefined>;
  /** Gives open ones up: they are never applied, and count no more. @returns those that were open. */
  discard(ids: readonly string[], because: string): Promise<string[]>;
};

type Row = Omit<ParkedMessage, 'parkedAt' | 'triedAt' | 'resolvedAt'> & { parked_at: number; tried_at: number; resolved_at: number | null };

const columns = `id, module, topic, partition, log_offset as "offset", record_id as "recordId", code, cause, retryable and resolved_at is null as "isWaiting", tries,
  ${ms('parked_at')}, ${ms('tried_at')}, ${ms('resolved_at')}, discarded_because as "discardedBecause"`;

const messageOf = <R extends Row>({ parked_at: parkedAt, tried_at: triedAt, resolved_at: resolvedAt, ...row }: R) => ({ ...row, parkedAt: new Date(parkedAt), triedAt: new Date(triedAt), resolvedAt: resolvedAt === null ? null : new Date(resolvedAt) });

/** Parked messages in `lockstep.parked`. */
export const parkedMessages = ({ pool }: Pick<Database, 'pool'>): ParkedMessages => ({
  list: async ({ module = null, all = false, limit }: { module?: string | null; all?: boolean; limit: number }) => {
    const { rows } = await pool.query<Row>(`select ${columns} from lockstep.parked where ($1::text is null or module = $1) and ($2 or resolved_at is null) order by parked_at desc, id desc limit $3`, [module, all, limit]);
    return rows.map(messageOf);
  },
  find: async (id) => {
    const { rows: [row] } = await pool.query<Row & { value: Buffer | null }>(`select ${columns}, value from lockstep.parked where id = $1`, [id]);
    return row && messageOf(row);
  },
  discard: async (ids, because) => {
    const { rows } = await pool.query<{ id: string }>('update lockstep.parked set resolved_at = now(), value = null, fields_left = null, discarded_because = $2 where id = any($1::bigint[]) and resolved_at is null returning id', [ids, because]);
    return rows.map(({ id }) => id);
  },
});
