import { createTestDatabase } from '@lockstep/local-stack';

import { connect, type Database } from './database.ts';
import { migrate } from './migrate.ts';

/** A migrated database of a test file's own. Its `close()` drops it as well. */
export async function openTestDatabase(modules: Parameters<typeof migrate>[1], { poolSize = 2 } = {}): Promise<Database> {
  const testDatabase = await createTestDatabase();
  const db = await connect({ url: testDatabase.url, poolSize });
  await migrate(db, modules);
  return {
    ...db,
    close: async () => {
      await db.close();
      await testDatabase.drop();
    },
  };
}
