import { type ModuleDefinition, modules as allModules } from '@lockstep/modules';
import pg from 'pg';

import { HarnessError } from './errors.ts';
import { fetchJson } from './http.ts';
import type { Lockstep } from './lockstep.ts';
import { compareModule, type Mismatch } from './comparison/compare-module.ts';
import { plainSession, tableOf } from './comparison/mapped-columns.ts';
import type { Snapshot } from './comparison/snapshot.ts';
import { compareUntouched, type Untouched } from './comparison/untouched.ts';

/** What a comparison found; the first few mismatches are listed, all are counted. */
export type Comparison = {
  readonly rows: number;
  readonly values: number;
  readonly mismatches: number;
  readonly examples: readonly Mismatch[];
  /** What belongs to others; null where no snapshot was taken before the load. */
  readonly untouched: Untouched | null;
};

const EXAMPLES = 10;

/** Counts all mismatches, and keeps the first few. */
class Found {
  count = 0;
  readonly examples: Mismatch[] = [];
  readonly #limit: number;

  constructor(limit: number) {
    this.#limit = limit;
  }

  readonly report = (mismatch: Mismatch): void => {
    this.count += 1;
    if (this.examples.length < this.#limit) this.examples.push(mismatch);
  };
}

/**
 * Compares the legacy database with the simulator's truth: every mapped column of every row; and, with a snapshot of the time before the load, that
 * everything else is what it was.
 * @param modules API names or definitions; all that this build knows by default.
 * @param limit how many mismatches are listed, of each sort.
 * @param modifiedLaterByMs how much later than the CRM's the modified times have to be, where a measurement moved them.
 */
export async function compareAll({ databaseUrl, simulator }: Pick<Lockstep, 'databaseUrl'> & { readonly simulator: { readonly url: string } | undefined }, modules: readonly (string | ModuleDefinition)[] = allModules, { modifiedLaterByMs = 0, before, limit = EXAMPLES }: { modifiedLaterByMs?: number; before?: Snapshot; limit?: number } = {}): Promise<Comparison> {
  if (simulator === undefined) throw new HarnessError('only the simulator has the truth to compare with', 'NO_SIMULATOR');
  const chosen = modules.map((module) => (typeof module === 'string' ? allModules.find(({ apiName }) => apiName === module) : module)).filter((module) => module !== undefined);
  const [found, compared] = [new Found(limit), { rows: 0, values: 0 }];
  const client = new pg.Client({ connectionString: databaseUrl });
  await client.connect();
  try {
    await client.query(plainSession);
    for (const module of chosen) {
      const earlierKeys = new Set(before?.get(tableOf(module))?.rows.keys());
      const { rows, values } = await compareModule({ client, simulatorUrl: simulator.url, module, earlierKeys, modifiedLaterByMs, report: found.report });
      compared.rows += rows;
      compared.values += values;
    }
  } finally {
    await client.end();
  }
  const untouched = before === undefined ? null : await untouchedOf({ databaseUrl, simulatorUrl: simulator.url, before, limit, modules: [...new Set([...allModules, ...chosen])] });
  return { ...compared, mismatches: found.count, examples: found.examples, untouched };
}

async function untouchedOf({ simulatorUrl, modules, limit, ...rest }: { databaseUrl: string; simulatorUrl: string; before: Snapshot; limit: number; modules: readonly ModuleDefinition[] }): Promise<Untouched> {
  const records = new Map<string, Awaited<ReturnType<typeof recordIds>>>();
  for (const { apiName } of modules) records.set(apiName, await recordIds(simulatorUrl, apiName));
  const found = new Found(limit);
  const compared = await compareUntouched({ ...rest, modules, records, report: found.report });
  return { ...compared, differences: found.count, examples: found.examples };
}

/** Ids of all records that a module has and had, and of those that were deleted at any time. */
async function recordIds(simulatorUrl: string, module: string): Promise<{ all: ReadonlySet<string>; deleted: ReadonlySet<string> }> {
  const alive = await fetchJson<string[]>(`${simulatorUrl}/__simulator/ids/${module}?first=100000000`);
  const gone = await fetchJson<{ id: string }[]>(`${simulatorUrl}/__simulator/deleted/${module}`);
  const changes = await fetchJson<{ module: string; id: string; operation: string }[]>(`${simulatorUrl}/__simulator/traffic/edits?limit=100000`);
  const deletions = changes.filter((change) => change.module === module && change.operation === 'delete');
  return { all: new Set([...alive, ...gone.map(({ id }) => id)]), deleted: new Set([...gone, ...deletions].map(({ id }) => id)) };
}
