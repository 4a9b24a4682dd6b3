import { availableParallelism } from 'node:os';
import { relative } from 'node:path';
import { fileURLToPath } from 'node:url';

import { defineConfig } from 'vitest/config';
import { BaseSequencer, type TestSpecification } from 'vitest/node';

/**
 * The suffix of a test file says what it needs: `x.test.ts` nothing, `x.pg.test.ts` Postgres, `x.kafka.test.ts` a broker
 * (and Postgres), `x.e2e.test.ts` the whole stack. Each is a Vitest project, so that the plain ones take seconds. They are looked for in the
 * project the root is, or in all of the workspace's.
 */
const files = (suffix: string): string[] => ['', '{apps,packages,tools}/*/'].map((project) => `${project}src/**/*${suffix}.test.ts`);
const special = [...files('.pg'), ...files('.kafka'), ...files('.e2e')];

/**
 * packages/kafka puts functions of its own in the place of the Kafka library's, for a whole process; its tests compare the two, so each of its
 * files has a process of its own.
 */
const library = { '': ['packages/kafka/src/**/*.test.ts'], 'packages/kafka': ['src/**/*.test.ts'] }[relative(import.meta.dirname, process.cwd())] ?? [];
/** A mutant may leave a test waiting for what no longer comes. */
const atMost = (ms: number): number => Math.min(ms, Number(process.env['LOCKSTEP_TEST_MOST_MS'] ?? ms));
const stack = { testTimeout: atMost(60_000), hookTimeout: atMost(120_000) };

/** The files that take longest, for they wait, begin first. */
class LongestFirst extends BaseSequencer {
  static readonly #files = ['completeness.e2e', 'clock-steps.e2e', 'projector.kafka', 'embedded-stack.kafka', 'credits/credits', 'random-logs.kafka', 'kills.kafka'].map((name) => `/${name}.test.ts`);

  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const isLong = ({ moduleId }: TestSpecification): number => Number(LongestFirst.#files.some((end) => moduleId.endsWith(end)));
    const inOrder = await super.sort(files); // oxlint-disable-line unicorn/no-array-sort -- not an array's
    return inOrder.toSorted((a, b) => isLong(b) - isLong(a));
  }
}

export default defineConfig({
  test: {
    // Most tests wait for a service for most of their time.
    maxWorkers: Math.max(3, availableParallelism() - 1),
    // The files of a worker share its process and what they import, which is half of the CPU of plain tests: nothing is left behind but caches.
    isolate: false,
    // Node imports what is tested by itself, as it does when the apps run; only test files are Vite's. That takes a third less of CPU.
    server: { deps: { external: [/\/(?:apps|packages|tools)\/[^/]+\/src\/(?!.*\.test\.ts$)/] } },
    sequence: { sequencer: LongestFirst },
    setupFiles: [fileURLToPath(new URL('tools/workspace/src/random-tests.ts', import.meta.url))],
    reporters: ['default', ['json', { outputFile: 'test-results.json' }]],
    projects: [
      { extends: true, test: { name: 'unit', include: files(''), exclude: [...special, ...library], testTimeout: atMost(30_000) } },
      { extends: true, test: { name: 'library', include: library, exclude: special, isolate: true, testTimeout: atMost(30_000) } },
      { extends: true, test: { name: 'pg', include: files('.pg'), globalSetup: '@lockstep/local-stack/vitest-postgres', ...stack } },
      { extends: true, test: { name: 'kafka', include: files('.kafka'), globalSetup: '@lockstep/local-stack/vitest-stack', isolate: true, ...stack } },
      // Each worker has a stack that nothing else uses, and runs one test at a time on it: topic names are fixed. Two of them leave half of two cores idle.
      { extends: true, test: { name: 'e2e', include: files('.e2e'), globalSetup: '@lockstep/local-stack/vitest-own-stack', maxWorkers: 3, sequence: { groupOrder: 1 }, testTimeout: 180_000, hookTimeout: 60_000 } },
    ],
  },
});
