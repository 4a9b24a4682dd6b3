import type { Database } from './database.ts';

/** Notes the ε that the predicates of the view `lockstep.freshness` are to use. */
export async function noteEpsilon({ pool }: Pick<Database, 'pool'>, epsilonMs: number): Promise<void> {
  await pool.query(`insert into lockstep.setting (name, value) values ('epsilon_ms', $1) on conflict (name) do update set value = excluded.value`, [String(epsilonMs)]);
}

/** The ε that the projector noted, in milliseconds. */
export async function readEpsilon({ pool }: Pick<Database, 'pool'>): Promise<number> {
  const { rows: [row] } = await pool.query<{ value: string }>(`select value from lockstep.setting where name = 'epsilon_ms'`);
  return Number(row?.value);
}
