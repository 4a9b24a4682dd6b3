import type { FieldValue } from '@lockstep/record-log';

import type { TablesUnderTest } from './contracts/conflicts-contract.ts';
import { memoryWatermarks } from './memory/memory-jobs.ts';
import { memoryTables } from './memory/memory-register.ts';
import { simulatedModules, tableRules } from './modules.ts';
import { projectBatch, transactionsOf } from './project-batch.ts';

/** Rounds after which what waits has found its place, or never will. */
export const ENOUGH_ROUNDS = 3;

/** The tables in memory, as a contract takes them. */
export function memoryTablesUnderTest(epsilonMs: number): TablesUnderTest {
  let nowMs = 0;
  const fresh = () => memoryTables({ now: () => nowMs, epsilonMs, modules: simulatedModules, rules: tableRules, watermarks: memoryWatermarks(() => new Date(nowMs)) });
  let tables = fresh();
  return {
    project: (module, messages) => projectBatch(transactionsOf(tables.projection), { module, partition: 0, from: messages[0]?.offset ?? 0, messages }),
    resolve: async (rounds = ENOUGH_ROUNDS) => {
      for (let round = 0; round < rounds; round += 1) {
        nowMs += 3_600_000;
        for (const { apiName } of simulatedModules) tables.projection.retry(apiName);
        tables.projection.resolveOvertaken();
      }
    },
    rows: async ({ apiName }) =>
      [...tables.records(apiName)]
        .filter(([id]) => tables.hasRow(apiName, id))
        .toSorted(([a], [b]) => (a < b ? -1 : 1))
        .map(([id, { content }]) => ({ id, values: content?.fields as readonly FieldValue[], isDeleted: !tables.isShown(apiName, id) })),
    parked: async ({ apiName }) => [...new Set(tables.projection.parked(apiName).map(({ id }) => id))].toSorted(),
    clear: async () => {
      tables = fresh();
    },
    close: async () => undefined,
  };
}
