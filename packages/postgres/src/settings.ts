import type { Database } from './database.ts';

/** Notes the ε that the predicates of the view `lockstep.freshness` are to use. */
export async function noteEpsilon({ pool }: Pick<Database, 'pool'>, epsilonMs: number): Promise<void> {
  await pool.query(`insert into lockstep.setting (name, value) values ('epsilon_ms', $1) on conflict (name) do update set value = excluded.value`, [String(epsilonMs)]);
}
