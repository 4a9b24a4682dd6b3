import type { Database } from './database.ts';
import { ms } from './epoch.ts';
import { claimedAfterLetter, isOpenLetterSql } from './open-letters.ts';

/** Where something that could not be read stands: topic, partition and offset; or module, record, job and line. */
export type LetterPosition = Readonly<Record<string, string | number>>;

/** Something that could not be read. */
export type NotedLetter = { readonly source: string; readonly position: LetterPosition; readonly code: string; readonly cause: string; readonly key: string };

/** The same, as its topic has it, and when it was written. */
export type RecalledLetter = NotedLetter & { readonly at: Date };

/** A dead letter, for people. */
export type StoredLetter = {
  readonly id: string;
  /** API name; null where it is of no module, such as a notification that is none. */
  readonly module: string | null;
  readonly recordId: string | null;
  readonly source: string;
  readonly position: LetterPosition;
  readonly code: string;
  readonly cause: string;
  readonly at: Date;
  readonly resolvedAt: Date | null;
  readonly discardedBecause: string | null;
};

/** What could not be read of the CRM, by reference. */
export type DeadLetterStore = {
  /** Notes letters; what stands at the same place is the same letter, and open again. Repeating it changes nothing but the time. */
  note(letters: readonly NotedLetter[]): Promise<void>;
  /** Adds those that a database lost and their topic still has. Of one place the latest stands; what is settled there, or given up, stays so. */
  recall(letters: readonly RecalledLetter[]): Promise<void>;
  /** Newest first. @param module all modules by default; else what counts for it, also what is of no module. @param all those that are over as well. */
  list(options: { readonly module?: string; readonly all?: boolean; readonly limit: number }): Promise<StoredLetter[]>;
  find(id: string): Promise<StoredLetter | undefined>;
  /** Gives open ones up: they count no more. @returns those that were open. */
  discard(ids: readonly string[], because: string): Promise<string[]>;
  /**
   * Resolves those of a module that a later reading has settled: a look at the record that read it or did not find it, its deletion, or a reading of the
   * whole module. And those of no module, once every module was caught up with after them. @returns how many.
   */
  resolve(module: string): Promise<number>;
};

type Row = Omit<StoredLetter, 'at' | 'resolvedAt'> & { at: number; resolvedAt: number | null };

const columns = `id, module, record_id::text as "recordId", source, position, code, cause, ${ms('at')}, ${ms('resolved_at', 'resolvedAt')}, discarded_because as "discardedBecause"`;
const letterOf = (row: Row): StoredLetter => ({ ...row, at: new Date(row.at), resolvedAt: row.resolvedAt === null ? null : new Date(row.resolvedAt) });

/** Of each text that is stored: an index entry takes no more than 2,700 bytes. */
const MOST_CHARACTERS = 300;
const MOST_OF_CAUSE = 4_000;

/** jsonb takes neither U+0000 nor half surrogates. A letter says where to look, and must never fail itself. */
const storable = (name: string, value: unknown): unknown => (typeof value === 'string' ? value.slice(0, name === 'cause' ? MOST_OF_CAUSE : MOST_CHARACTERS).toWellFormed().replaceAll('\0', '\uFFFD') : value);

/** @param onConflict what becomes of a letter that stands at the same place. */
async function insertLetters(pool: Database['pool'], letters: readonly (NotedLetter & Partial<RecalledLetter>)[], onConflict: string): Promise<void> {
  if (letters.length === 0) return;
  const places = new Map(letters.map((letter) => [JSON.stringify([letter.source, letter.position], storable), letter]));
  await pool.query(
    `insert into lockstep.dead_letter (module, record_id, source, position, code, cause, at)
     select position ->> 'module', case when key ~ '^[1-9][0-9]{0,18}$' and key::numeric < 9223372036854775808 then key::bigint end, source, position, code, cause, coalesce(at, now())
     from jsonb_to_recordset($1::jsonb) as l (key text, source text, position jsonb, code text, cause text, at timestamptz)
     on conflict (source, position) ${onConflict}`,
    [JSON.stringify([...places.values()].map(({ key, source, position, code, cause, at }) => ({ key, source, position, code, cause, at })), storable)],
  );
}

/** Dead letters in `lockstep.dead_letter`. */
export const deadLetterStore = ({ pool }: Pick<Database, 'pool'>): DeadLetterStore => ({
  note: async (letters) => await insertLetters(pool, letters, 'do update set at = now(), code = excluded.code, cause = excluded.cause, resolved_at = null where dead_letter.discarded_because is null'),
  recall: async (letters) => await insertLetters(pool, letters, 'do update set at = excluded.at, code = excluded.code, cause = excluded.cause where dead_letter.at < excluded.at and dead_letter.resolved_at is null'),
  list: async ({ module = null, all = false, limit }: { module?: string | null; all?: boolean; limit: number }) => {
    const { rows } = await pool.query<Row>(`select ${columns} from lockstep.dead_letter d where ($1::text is null or module = $1 or ${isOpenLetterSql('$1')}) and ($2 or resolved_at is null) order by at desc, id desc limit $3`, [module, all, limit]);
    return rows.map(letterOf);
  },
  find: async (id) => {
    const { rows: [row] } = await pool.query<Row>(`select ${columns} from lockstep.dead_letter where id = $1`, [id]);
    return row && letterOf(row);
  },
  discard: async (ids, because) => {
    const { rows } = await pool.query<{ id: string }>('update lockstep.dead_letter set resolved_at = now(), discarded_because = $2 where id = any($1::bigint[]) and resolved_at is null returning id', [ids, because]);
    return rows.map(({ id }) => id);
  },
  resolve: async (module) => {
    const { rowCount } = await pool.query(
      `update lockstep.dead_letter d set resolved_at = now() where resolved_at is null and (
         module = $1 and not exists (select from lockstep.look_aside a where a.module = d.module and a.record_id = d.record_id) and (
           exists (select from lockstep.record_version r where r.module = d.module and r.record_id = d.record_id
             and (greatest(r.observed_ms, r.deleted_ms, r.listed_ms) > extract(epoch from d.at) * 1000 or r.hidden_since > d.at))
           or ${claimedAfterLetter('everything', 'd.module')})
         or module is null and not exists (select from lockstep.mapping m where not ${claimedAfterLetter('changes', 'm.module')}))`,
      [module],
    );
    return rowCount ?? 0;
  },
});
