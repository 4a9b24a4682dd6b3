import type { TestProject } from 'vitest/node';

import { startThrowAwayStack } from './test-stack.ts';

/** A Kafka and Postgres that one test at a time uses: it may delete whatever is in it. */
export type OwnStack = { kafkaBrokers: string[]; databaseUrl: string };

declare module 'vitest' {
  interface ProvidedContext {
    ownStacks: OwnStack[];
  }
}

/**
 * Vitest global set-up for `*.e2e.test.ts`: `inject('ownStacks')`, one for each worker, even where the environment names services, for others use
 * those. A worker takes the one at its `VITEST_POOL_ID` - 1.
 */
export default async function provideOwnStacks(project: TestProject): Promise<() => Promise<void>> {
  const { KAFKA_BROKERS: _brokers, DATABASE_URL: _url, ...env } = process.env;
  const started = await Promise.allSettled(Array.from({ length: project.config.maxWorkers }, () => startThrowAwayStack({ env })));
  const stacks = started.flatMap((one) => (one.status === 'fulfilled' ? one.value : []));
  const stop = async (): Promise<void> => void (await Promise.all(stacks.map((stack) => stack.stop())));
  const failed = started.find((one) => one.status === 'rejected');
  if (failed !== undefined) {
    await stop();
    throw failed.reason;
  }
  project.provide('ownStacks', stacks.map(({ kafkaBrokers, databaseUrl }) => ({ kafkaBrokers, databaseUrl })));
  return stop;
}
