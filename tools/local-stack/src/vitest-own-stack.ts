import type { TestProject } from 'vitest/node';

import { startThrowAwayStack } from './test-stack.ts';

/** A Kafka and Postgres that nobody else uses: whoever is given it may delete whatever is in it. */
export type OwnStack = { kafkaBrokers: string[]; databaseUrl: string };

declare module 'vitest' {
  interface ProvidedContext {
    ownStack: OwnStack;
  }
}

/** Vitest global set-up for `*.e2e.test.ts`: `inject('ownStack')`, even where the environment names services, for others use those. */
export default async function provideOwnStack(project: TestProject): Promise<() => Promise<void>> {
  const { KAFKA_BROKERS: _brokers, DATABASE_URL: _url, ...env } = process.env;
  const stack = await startThrowAwayStack({ env });
  project.provide('ownStack', { kafkaBrokers: stack.kafkaBrokers, databaseUrl: stack.databaseUrl });
  return () => stack.stop();
}
