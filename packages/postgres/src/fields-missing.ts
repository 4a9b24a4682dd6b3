import type { Database } from './database.ts';

/** A mapped field that the CRM refuses to read. `since` is CRM time, not later than the first refusal; `isBack`: it is read again, and what was missed is not requested yet. */
export type FieldMissing = { readonly module: string; readonly field: string; readonly cause: string; readonly since: Date; readonly isBack: boolean };

/** Fields that are left out of readings, kept across restarts. */
export type FieldsMissing = {
  all(): Promise<FieldMissing[]>;
  /** Keeps the earliest time; a field that was back is missing again. */
  note(missing: Omit<FieldMissing, 'isBack'>): Promise<void>;
  back(module: string, field: string): Promise<void>;
  /** What was missed is requested, or read: there is nothing more to remember. */
  done(module: string, field: string): Promise<void>;
};

/** Missing fields in `lockstep.field_missing`. */
export const fieldsMissing = ({ pool }: Pick<Database, 'pool'>): FieldsMissing => ({
  all: async () => {
    const { rows } = await pool.query<Omit<FieldMissing, 'since'> & { ms: number }>('select module, field, cause, (extract(epoch from since) * 1000)::float8 as ms, is_back as "isBack" from lockstep.field_missing order by module, field');
    return rows.map(({ ms, ...row }) => ({ ...row, since: new Date(ms) }));
  },
  note: async ({ module, field, cause, since }) => {
    await pool.query(
      `insert into lockstep.field_missing as f (module, field, cause, since) values ($1, $2, $3, $4)
       on conflict (module, field) do update set cause = excluded.cause, since = least(f.since, excluded.since), is_back = false`,
      [module, field, cause, since],
    );
  },
  back: async (module, field) => void (await pool.query('update lockstep.field_missing set is_back = true where module = $1 and field = $2', [module, field])),
  done: async (module, field) => void (await pool.query('delete from lockstep.field_missing where module = $1 and field = $2 and is_back', [module, field])),
});
