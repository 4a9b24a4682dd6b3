import { chmod, mkdir, mkdtemp, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { checkoutDir, isAbandoned } from './data-dir.ts';
import { endLeftOver } from './left-overs.ts';
import { removeStackData } from './postgres-reach.ts';
import { startStack } from './stack.ts';
import type { Stack, StackOptions } from './stack.ts';

/** One folder below it for each test run; in the checkout, so that a later run finds what a killed one left behind. */
const testRunsDir = join(checkoutDir, '.lockstep', 'test-runs');

/**
 * Provides the services a test run needs and names them in `process.env`, which the test processes inherit: those the
 * environment has already, else throw-away ones.
 * @param runsDir see {@link startThrowAwayStack}.
 * @returns what stops them again, and takes the names back.
 */
export async function provideTestStack(needs: ('kafka' | 'postgres')[], runsDir = testRunsDir): Promise<() => Promise<void>> {
  const stack = await startThrowAwayStack({ needs }, runsDir);
  const before = { ...process.env };
  if (needs.includes('kafka')) process.env['KAFKA_BROKERS'] = stack.kafkaBrokers.join(',');
  if (needs.includes('postgres')) process.env['DATABASE_URL'] = stack.databaseUrl;
  return async () => {
    for (const name of ['KAFKA_BROKERS', 'DATABASE_URL']) restore(name, before[name]);
    await stack.stop();
  };
}

/** Starts a stack in a temporary folder, which its end removes. @param runsDir where the folder is made, and where those of runs that were killed are looked for. */
export async function startThrowAwayStack(options: Pick<StackOptions, 'needs' | 'env'>, runsDir = testRunsDir): Promise<Stack> {
  await mkdir(runsDir, { recursive: true });
  await removeAbandonedRuns(runsDir);
  const dataDir = await mkdtemp(join(runsDir, 'run-'));
  await chmod(dataDir, 0o755); // root runs Postgres as another user, who has to get in
  const stack = await startStack({ ...options, dataDir, durable: false }).catch(async (error: unknown) => {
    await removeStackData(dataDir);
    throw error;
  });
  const stop = async (): Promise<void> => {
    await stack.stop();
    await removeStackData(dataDir);
  };
  return { ...stack, stop };
}

/** Ends the services of test runs that were killed, and removes their folders. */
async function removeAbandonedRuns(runsDir: string): Promise<void> {
  for (const name of await readdir(runsDir)) {
    const dataDir = join(runsDir, name);
    if (!(await isAbandoned(dataDir))) continue;
    await endLeftOver(join(dataDir, 'kafka.process.json'), 'SIGKILL');
    await endLeftOver(join(dataDir, 'postgres.process.json'), 'SIGQUIT');
    await removeStackData(dataDir);
  }
}

function restore(name: string, value: string | undefined): void {
  if (value === undefined) delete process.env[name];
  else process.env[name] = value;
}
