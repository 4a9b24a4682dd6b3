import type { Admin } from '@lockstep/kafka';
import { type ModuleDefinition, topicOf, topics } from '@lockstep/modules';
import { bulkRuns, type BulkPageRow, type BulkRunRow, channels, type Database } from '@lockstep/postgres';

import type { Problems } from './leader.ts';

/** Where a module stands. Times are ISO 8601 in UTC. */
export type ModuleStatus = {
  readonly module: string;
  /** `starting`, `syncing` (the first load runs), `projecting` (all is in the log, not yet in the table), `in step`, `failed`. */
  readonly state: 'starting' | 'syncing' | 'projecting' | 'in step' | 'failed';
  readonly channel: { readonly grantedUntil: string; readonly renewAt: string } | null;
  readonly run: RunStatus | null;
  /** Messages in the topic that are not yet applied. */
  readonly behind: number;
  readonly parked: number;
  readonly problem: string | null;
};

/** How far a bulk run is. */
export type RunStatus = {
  readonly kind: string;
  readonly state: string;
  readonly pages: number;
  readonly pagesPublished: number;
  readonly rows: number;
  readonly expectedRows: number | null;
  readonly rowsPerSecond: number;
  readonly etaSeconds: number | null;
  readonly startedAt: string;
  readonly finishedAt: string | null;
  readonly failure: string | null;
};

/** What the status route answers. */
export type Status = {
  readonly isLeader: boolean;
  /** Stored notifications that are not answered by a look yet; null while Kafka does not tell. */
  readonly hintsWaiting: number | null;
  readonly modules: readonly ModuleStatus[];
};

export type StatusDeps = { readonly db: Database; readonly admin: Admin; readonly modules: readonly ModuleDefinition[]; readonly problems: Problems; readonly now?: () => Date };

/** Reads the status of every module from job table, log and positions; any process may answer. */
export async function readStatus({ db, admin, modules, problems, now = () => new Date() }: StatusDeps): Promise<readonly ModuleStatus[]> {
  const runs = bulkRuns(db);
  const [allRuns, allChannels, parked, positions] = await Promise.all([runs.all(), channels(db).all(), parkedByModule(db), nextByTopic(db)]);
  return Promise.all(
    modules.map(async (module) => {
      const run = allRuns.findLast((one) => one.module === module.apiName);
      const channel = allChannels.find((one) => one.module === module.apiName);
      const behind = Math.max(0, (await endOf(admin, topicOf(module))) - (positions.get(topicOf(module)) ?? 0));
      return {
        module: module.apiName,
        state: stateOf(run, behind),
        channel: channel === undefined ? null : { grantedUntil: channel.grantedUntil.toISOString(), renewAt: channel.renewAt.toISOString() },
        run: run === undefined ? null : runStatus(run, await runs.pagesOf(run.id), now()),
        behind,
        parked: parked.get(module.apiName) ?? 0,
        problem: problems.get(module.apiName) ?? null,
      };
    }),
  );
}

/** Hints that the reader has not answered; null while Kafka does not tell. */
export const readHintsWaiting = (admin: Admin): Promise<number | null> => admin.groupLag('lockstep-reader', topics.notifications).catch(() => null);

function stateOf(run: BulkRunRow | undefined, behind: number): ModuleStatus['state'] {
  if (run === undefined) return 'starting';
  if (run.state !== 'complete') return run.state === 'failed' ? 'failed' : 'syncing';
  return behind === 0 ? 'in step' : 'projecting';
}

/** Rows, rate and what is left of a run. */
export function runStatus(run: BulkRunRow, pages: readonly BulkPageRow[], now: Date): RunStatus {
  const rows = pages.reduce((sum, page) => sum + page.rowsPublished, 0);
  const seconds = Math.max(0.001, ((run.finishedAt ?? now).getTime() - run.startedAt.getTime()) / 1000);
  const rowsPerSecond = Math.round(rows / seconds);
  const expectedRows = run.expectedRows ?? null;
  const left = expectedRows === null ? null : Math.max(0, expectedRows - rows);
  return {
    kind: run.kind,
    state: run.state,
    pages: pages.length,
    pagesPublished: pages.filter(({ state }) => state === 'published').length,
    rows,
    expectedRows,
    rowsPerSecond,
    etaSeconds: run.state !== 'running' || left === null || rowsPerSecond === 0 ? null : Math.ceil(left / rowsPerSecond),
    startedAt: run.startedAt.toISOString(),
    finishedAt: run.finishedAt?.toISOString() ?? null,
    failure: run.failure ?? null,
  };
}

async function parkedByModule({ pool }: Database): Promise<Map<string, number>> {
  const { rows } = await pool.query<{ module: string; count: number }>('select module, count(*)::int as count from lockstep.parked group by module');
  return new Map(rows.map(({ module, count }) => [module, count]));
}

async function nextByTopic({ pool }: Database): Promise<Map<string, number>> {
  const { rows } = await pool.query<{ topic: string; next: string }>('select topic, sum(next_offset) as next from lockstep.projection_offset group by topic');
  return new Map(rows.map(({ topic, next }) => [topic, Number(next)]));
}

/** Messages in a topic; 0 while it does not exist. */
const endOf = (admin: Admin, topic: string): Promise<number> =>
  admin.topicOffsets(topic).then(
    (offsets) => offsets.reduce((sum, { high }) => sum + high, 0),
    () => 0,
  );
