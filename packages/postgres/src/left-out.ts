import type { Database } from './database.ts';
import { ms } from './epoch.ts';
import { HINTS_BACKLOG } from './looks-aside.ts';
import { isOpenLetterSql } from './open-letters.ts';
import { OF_HINTS } from './partition-states.ts';

/** How much of a kind is left out of a module, since when, and the most frequent cause. */
export type LeftOut = { readonly count: number; readonly since: Date; readonly cause: string };

/** What the table of a module lacks for now; null where it lacks nothing of the kind. */
export type LeftOutOfModule = {
  /** Partitions of the log that are not applied until someone acts. */
  readonly halted: LeftOut | null;
  /** Partitions whose oldest message has waited for longer than a minute, though they are not halted. */
  readonly stuck: LeftOut | null;
  /** Messages that were fetched and could not be applied. */
  readonly parked: LeftOut | null;
  /** Records whose looks fail. */
  readonly aside: LeftOut | null;
  /** Rows, replies, entries of lists and notifications that could not be read, and no later reading has settled. */
  readonly deadLetters: LeftOut | null;
  /** Fields that the CRM refuses to read, or has given back and whose values are still to be read. */
  readonly missingFields: LeftOut | null;
};

type Row = { kind: keyof LeftOutOfModule; count: number; since: number; cause: string };

/** A state that is not noted for as long belongs to a projector that ended. */
const NOTED_WITHIN = '60 seconds';
const STUCK_AFTER = '60 seconds';

// Each kind as (since, cause), of one module.
const kinds: Readonly<Record<keyof LeftOutOfModule, string>> = {
  halted: `select halted_since, topic || '/' || partition || ': ' || coalesce(cause, '') from lockstep.partition_state where module = $1 and halted_since is not null and noted_at > now() - interval '${NOTED_WITHIN}'`,
  stuck: `select oldest_unapplied_at, topic || '/' || partition || ': its oldest message is not applied' from lockstep.partition_state p
    where module = $1 and halted_since is null and oldest_unapplied_at < now() - interval '${STUCK_AFTER}' and noted_at > now() - interval '${NOTED_WITHIN}'
      and not exists (select from lockstep.paused where module = p.module)`,
  parked: 'select parked_at, code || \': \' || cause from lockstep.parked where module = $1 and resolved_at is null',
  aside: `select since, code || ': ' || cause from lockstep.look_aside where module = $1 and code <> '${HINTS_BACKLOG}'`,
  deadLetters: `select at, code || ': ' || cause from lockstep.dead_letter d where ${isOpenLetterSql('$1')}`,
  missingFields: `select since, field || ': ' || case when is_back then 'it is back, and what was missed is still to be read' else cause end from lockstep.field_missing where module = $1`,
};

/** Reads what is left out of a module. */
export async function readLeftOut({ pool }: Pick<Database, 'pool'>, module: string): Promise<LeftOutOfModule> {
  const found = await readKinds(pool, module, Object.keys(kinds) as (keyof LeftOutOfModule)[]);
  const of = (kind: keyof LeftOutOfModule): LeftOut | null => found.get(kind) ?? null;
  return { halted: of('halted'), stuck: of('stuck'), parked: of('parked'), aside: of('aside'), deadLetters: of('deadLetters'), missingFields: of('missingFields') };
}

/** Reads which partitions of stored hints the reader cannot read on; null where there is none. */
export const readUnreadHints = async ({ pool }: Pick<Database, 'pool'>): Promise<LeftOut | null> => (await readKinds(pool, OF_HINTS, ['halted'])).get('halted') ?? null;

async function readKinds(pool: Database['pool'], module: string, names: readonly (keyof LeftOutOfModule)[]): Promise<Map<keyof LeftOutOfModule, LeftOut>> {
  const parts = names.map((kind) => `select '${kind}' as kind, count(*)::int as count, ${ms('min(since)', 'since')}, (array_agg(cause order by times desc, cause))[1] as cause
    from (select since, cause, count(*) over (partition by cause) as times from (${kinds[kind]}) as one (since, cause)) as counted having count(*) > 0`);
  const { rows } = await pool.query<Row>(parts.join(' union all '), [module]);
  return new Map(rows.map(({ kind, count, since, cause }) => [kind, { count, since: new Date(since), cause }]));
}
