import type { Database } from './database.ts';

/** A field of which a query showed only so many characters (UTF-16 units) of a longer text. */
export type TextCut = { readonly module: string; readonly field: string; readonly characters: number };

/** What queries were seen to cut, kept across restarts. */
export type TextCuts = {
  all(): Promise<TextCut[]>;
  /** Keeps the least; noting the same again changes nothing. */
  note(cut: TextCut): Promise<void>;
};

/** Seen cuts in `lockstep.text_cut`. */
export const textCuts = ({ pool }: Pick<Database, 'pool'>): TextCuts => ({
  all: async () => (await pool.query<TextCut>('select module, field, characters from lockstep.text_cut')).rows,
  note: async ({ module, field, characters }) => {
    await pool.query(
      `insert into lockstep.text_cut as t (module, field, characters) values ($1, $2, $3)
       on conflict (module, field) do update set characters = least(t.characters, excluded.characters)`,
      [module, field, characters],
    );
  },
});
