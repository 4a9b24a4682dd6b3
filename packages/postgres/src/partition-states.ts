import type { Database } from './database.ts';
import { ms } from './epoch.ts';

/** The module of partitions that hold the hints of all modules. */
export const OF_HINTS = '';

/** What a projector knows of a partition that it has in hand, or the reader of one whose hints it cannot read. */
export type PartitionState = {
  readonly topic: string;
  readonly partition: number;
  /** API name, or {@link OF_HINTS}. */
  readonly module: string;
  /** Null while the partition is not halted. */
  readonly haltedSince: Date | null;
  /** Why it is halted, or cannot be read on. */
  readonly cause: string | null;
  /** When the broker stored the oldest message that was fetched and is not applied; null where there is none. */
  readonly oldestUnappliedAt: Date | null;
};

export type PartitionStates = {
  /** @returns all that is noted, and when: what is not noted for long belongs to no projector that runs. */
  all(): Promise<(PartitionState & { readonly notedAt: Date })[]>;
  /** Notes the states; repeating it only renews their time. */
  note(states: readonly PartitionState[]): Promise<void>;
  /** Lets the halted partitions of a module be tried again, by whichever projector has them. @returns how many are halted. */
  wantTried(module: string): Promise<number>;
  /** Those of these partitions that are wanted to be tried; they no longer are afterwards. */
  takeWanted(partitions: readonly Pick<PartitionState, 'topic' | 'partition'>[]): Promise<Pick<PartitionState, 'topic' | 'partition'>[]>;
  /** Removes what is noted of partitions that were handed over. */
  forget(topic: string, partitions: readonly number[]): Promise<void>;
};

type Row = Omit<PartitionState, 'haltedSince' | 'oldestUnappliedAt'> & { haltedSince: number | null; oldestUnappliedAt: number | null; notedAt: number };

const dateOf = (atMs: number | null): Date | null => (atMs === null ? null : new Date(atMs));

/** The states of partitions, in `lockstep.partition_state`. */
export const partitionStates = ({ pool }: Pick<Database, 'pool'>): PartitionStates => ({
  all: async () => {
    const { rows } = await pool.query<Row>(
      `select topic, partition, module, cause, ${ms('halted_since', 'haltedSince')}, ${ms('oldest_unapplied_at', 'oldestUnappliedAt')}, ${ms('noted_at', 'notedAt')} from lockstep.partition_state order by topic, partition`,
    );
    return rows.map((row) => ({ ...row, haltedSince: dateOf(row.haltedSince), oldestUnappliedAt: dateOf(row.oldestUnappliedAt), notedAt: new Date(row.notedAt) }));
  },
  note: async (states) => {
    const column = <K extends keyof PartitionState>(key: K): PartitionState[K][] => states.map((state) => state[key]);
    await pool.query(
      `insert into lockstep.partition_state (topic, partition, module, halted_since, cause, oldest_unapplied_at)
       select * from unnest($1::text[], $2::int[], $3::text[], $4::timestamptz[], $5::text[], $6::timestamptz[])
       on conflict (topic, partition) do update set module = excluded.module, halted_since = excluded.halted_since, cause = excluded.cause,
         oldest_unapplied_at = excluded.oldest_unapplied_at, noted_at = now()`,
      [column('topic'), column('partition'), column('module'), column('haltedSince'), column('cause'), column('oldestUnappliedAt')],
    );
  },
  wantTried: async (module) => (await pool.query('update lockstep.partition_state set try_wanted_at = now() where module = $1 and halted_since is not null', [module])).rowCount ?? 0,
  takeWanted: async (partitions) => {
    const { rows } = await pool.query<Pick<PartitionState, 'topic' | 'partition'>>(
      `update lockstep.partition_state s set try_wanted_at = null from unnest($1::text[], $2::int[]) as p (topic, partition)
       where s.topic = p.topic and s.partition = p.partition and s.try_wanted_at is not null returning s.topic, s.partition`,
      [partitions.map(({ topic }) => topic), partitions.map(({ partition }) => partition)],
    );
    return rows;
  },
  forget: async (topic, partitions) => {
    await pool.query('delete from lockstep.partition_state where topic = $1 and partition = any($2::int[])', [topic, partitions]);
  },
});
