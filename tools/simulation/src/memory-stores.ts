import type { StoresUnderTest } from './contracts/stores-contract.ts';
import { memoryIncidents } from './memory/memory-incidents.ts';
import { memoryBulkRuns, memoryCatchUps, memoryChannels, memoryWatermarks } from './memory/memory-jobs.ts';
import { memoryLooksAside } from './memory/memory-looks-aside.ts';
import { memoryTables } from './memory/memory-register.ts';
import { simulatedLeads, simulatedModules, tableRules } from './modules.ts';
import { projectBatch, transactionsOf } from './project-batch.ts';

/** The stores in memory, as a contract takes them. */
export function memoryStores(epsilonMs: number): StoresUnderTest {
  const now = (): Date => new Date();
  const fresh = () => {
    const tables = memoryTables({ now: Date.now, epsilonMs, modules: simulatedModules, rules: tableRules, watermarks: memoryWatermarks(now) });
    return { runs: memoryBulkRuns(now), catchUps: memoryCatchUps(now), channels: memoryChannels(), incidents: memoryIncidents(now), aside: memoryLooksAside(Date.now), tables, ...tables };
  };
  let current = fresh();
  const companyAt = simulatedLeads.fields.findIndex(({ field }) => field === 'Company');
  // What is asked of it is asked of the current one: clearing makes another.
  return {
    get runs() { return current.runs; },
    get catchUps() { return current.catchUps; },
    get watermarks() { return current.watermarks; },
    get channels() { return current.channels; },
    get incidents() { return current.incidents; },
    get register() { return current.register; },
    get audits() { return current.audits; },
    get looks() { return current.looks; },
    get aside() { return current.aside; },
    topicId: 'topic',
    project: (messages) => projectBatch(transactionsOf(current.projection), { module: simulatedLeads, partition: 0, from: messages[0]?.offset ?? 0, messages }),
    freshness: async () => current.tables.freshness(simulatedLeads),
    rows: async () =>
      [...current.records('Leads')]
        .toSorted(([a], [b]) => (a < b ? -1 : 1))
        .flatMap(([id, { live, content }]) => (live === undefined || content === undefined ? [] : [{ id, company: content.fields[companyAt] as string | null, modifiedMs: live.modifiedMs, isDeleted: !current.isShown('Leads', id) }])),
    clear: async () => {
      current = fresh();
    },
    close: async () => undefined,
  };
}
