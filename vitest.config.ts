import { availableParallelism } from 'node:os';

import { defineConfig } from 'vitest/config';
import { BaseSequencer, type TestSpecification } from 'vitest/node';

/**
 * The suffix of a test file says what it needs: `x.test.ts` nothing, `x.pg.test.ts` Postgres, `x.kafka.test.ts` a broker
 * (and Postgres), `x.e2e.test.ts` the whole stack. Each is a Vitest project, so that the plain ones take seconds.
 */
const special = ['src/**/*.pg.test.ts', 'src/**/*.kafka.test.ts', 'src/**/*.e2e.test.ts'];
const stack = { testTimeout: 60_000, hookTimeout: 120_000 };

/** The file that takes longest, for it waits, begins first. */
class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const isLongest = ({ moduleId }: TestSpecification): number => Number(moduleId.endsWith('clock-steps.e2e.test.ts'));
    const inOrder = await super.sort(files); // oxlint-disable-line unicorn/no-array-sort -- not an array's
    return inOrder.toSorted((a, b) => isLongest(b) - isLongest(a));
  }
}

export default defineConfig({
  test: {
    // Most tests wait for a service for most of their time.
    maxWorkers: Math.max(2, availableParallelism() - 1),
    sequence: { sequencer: LongestFirst },
    reporters: ['default', ['json', { outputFile: 'test-results.json' }]],
    projects: [
      { extends: true, test: { name: 'unit', include: ['src/**/*.test.ts'], exclude: special, testTimeout: 30_000 } },
      { extends: true, test: { name: 'pg', include: ['src/**/*.pg.test.ts'], globalSetup: '@lockstep/local-stack/vitest-postgres', ...stack } },
      { extends: true, test: { name: 'kafka', include: ['src/**/*.kafka.test.ts'], globalSetup: '@lockstep/local-stack/vitest-stack', ...stack } },
      // Each worker has a stack that nothing else uses, and runs one test at a time on it: topic names are fixed.
      { extends: true, test: { name: 'e2e', include: ['src/**/*.e2e.test.ts'], globalSetup: '@lockstep/local-stack/vitest-own-stack', maxWorkers: 2, sequence: { groupOrder: 1 }, testTimeout: 180_000, hookTimeout: 60_000 } },
    ],
  },
});
