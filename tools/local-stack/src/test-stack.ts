import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startStack } from './stack.ts';

/**
 * Provides the services a test run needs and names them in `process.env`, which the test processes inherit: those the
 * environment has already, else throw-away ones in a temporary folder.
 * @returns what stops them again, and takes the names back.
 */
export async function provideTestStack(needs: ('kafka' | 'postgres')[]): Promise<() => Promise<void>> {
  const dataDir = await mkdtemp(join(tmpdir(), 'lockstep-test-'));
  await chmod(dataDir, 0o755); // root runs Postgres as another user, who has to get in
  const stack = await startStack({ needs, dataDir, durable: false }).catch(async (error: unknown) => {
    await rm(dataDir, { recursive: true, force: true });
    throw error;
  });
  const before = { ...process.env };
  if (needs.includes('kafka')) process.env['KAFKA_BROKERS'] = stack.kafkaBrokers.join(',');
  if (needs.includes('postgres')) process.env['DATABASE_URL'] = stack.databaseUrl;
  return async () => {
    for (const name of ['KAFKA_BROKERS', 'DATABASE_URL']) restore(name, before[name]);
    await stack.stop();
    await rm(dataDir, { recursive: true, force: true });
  };
}

function restore(name: string, value: string | undefined): void {
  if (value === undefined) delete process.env[name];
  else process.env[name] = value;
}
