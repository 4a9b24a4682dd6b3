import { connect, type Database, loadPostgresConfig, sqlState } from '@lockstep/postgres';

import { UsageError } from './errors.ts';

/**
 * Does something with the database that a projector writes.
 * @throws {UsageError} where it has no schema of this build's.
 */
export async function onDatabase<T>(env: NodeJS.ProcessEnv, work: (db: Database) => Promise<T>): Promise<T> {
  const db = await connect(loadPostgresConfig(env));
  try {
    return await work(db);
  } catch (error) {
    if (['42P01', '42883', '3F000'].includes(sqlState(error))) throw new UsageError(`Lockstep does not know this database, or only an earlier build does: ${(error as Error).message}. Start the apps of this build once`);
    throw error;
  } finally {
    await db.close();
  }
}
