import { type BulkPlan, bulkPlan, type CatchUpRules, creditsLeft, isCoarser, lookEveryMs } from '@lockstep/completeness';
import { changeRateOf, type CreditRules, creditsOfDay, paidRules, type PlanBudget } from '@lockstep/crm-planner';
import type { Admin } from '@lockstep/kafka';
import { type ModuleDefinition, topicOf, topics } from '@lockstep/modules';
import { bulkRuns, type BulkPageRow, type BulkRunRow, catchUps, type CatchUpRow, channels, type CreditsOfDay, creditUse, type Database, databaseNow, deletionBreaker, type Incident, incidents, type LeftOutOfModule, pauses, readLeftOut } from '@lockstep/postgres';

import type { Problems } from './leader.ts';

/** Where a module stands. Times are ISO 8601 in UTC. */
export type ModuleStatus = {
  readonly module: string;
  /** `starting`, `syncing` (the first load runs), `projecting` (all is in the log, not yet in the table), `in step`, `deletions held` (in step but for those), `incomplete` (in step but for what is parked, kept aside, unreadable or missing), `halted` (partitions are not applied), `paused` (a person let nothing be applied), `failed`. */
  readonly state: 'starting' | 'syncing' | 'projecting' | 'in step' | 'incomplete' | 'deletions held' | 'halted' | 'paused' | 'failed';
  readonly channel: { readonly grantedUntil: string; readonly renewAt: string } | null;
  /** The bulk run under way, else the latest. */
  readonly run: RunStatus | null;
  readonly catchUp: CatchUpStatus | null;
  /** Set while deletions are held until a person releases them. */
  readonly heldDeletions: { readonly deletions: number; readonly allowed: number; readonly heldAt: string } | null;
  /** Set while a person has paused it: nothing is applied, and the log goes on filling. */
  readonly paused: { readonly since: string; readonly reason: string } | null;
  /** Messages in the topic that are not yet applied. */
  readonly behind: number;
  readonly parked: number;
  /** Partitions that are not applied, records whose looks fail, and mapped fields that cannot be read. */
  readonly halted: number;
  readonly aside: number;
  /** Rows and entries that could not be read, and no later reading has settled. */
  readonly deadLetters: number;
  readonly missingFields: number;
  /** Open ones; `GET /incidents` lists them. */
  readonly incidents: number;
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
  /** What it takes, at most; null where the CRM would not count. */
  readonly plan: BulkPlan | null;
  readonly rowsPerSecond: number;
  readonly etaSeconds: number | null;
  readonly startedAt: string;
  readonly finishedAt: string | null;
  readonly failure: string | null;
};

/** The latest catch-up. */
export type CatchUpStatus = { readonly state: string; readonly from: string; readonly wantedAt: string; readonly rows: number; readonly unhinted: number; readonly deleted: number };

/** The credits of the last 24 hours. */
export type CreditsStatus = {
  /** As configured, else as the edition grants or the CRM's header shows them; null while none of them says, so there is no budget. */
  readonly perDay: number | null;
  /** By this installation, by purpose. */
  readonly spent: CreditsOfDay['credits'];
  readonly left: number | null;
  /** What is left to others. */
  readonly reserve: number | null;
  /** From one catch-up of a module to the next, as the credits allow. */
  readonly catchUpIntervalMs: number;
  /** From one look at a module to its next, as the credits allow: 0 for at once, null while none is made. */
  readonly lookEveryMs: number | null;
  /** Whether changes arrive later than they would with more credits. */
  readonly isCoarser: boolean;
  /** What may be spent at once, of how much at most; null without a budget. */
  readonly bucket: { readonly level: number; readonly capacity: number } | null;
};

/** What the status route answers. */
export type Status = {
  readonly isLeader: boolean;
  /** Stored notifications that are not answered by a look yet; null while Kafka does not answer. */
  readonly hintsWaiting: number | null;
  /** Open ones of the organisation as a whole. */
  readonly incidents: number;
  readonly credits: CreditsStatus;
  readonly modules: readonly ModuleStatus[];
};

export type StatusDeps = {
  readonly db: Database;
  readonly admin: Admin;
  readonly modules: readonly ModuleDefinition[];
  readonly problems: Problems;
  readonly catchUpRules: CatchUpRules;
  readonly creditRules: CreditRules;
  readonly budget: Pick<PlanBudget, 'state'>;
};

/** Reads the status of every module from job table, log and positions; any process may answer. */
export async function readStatus({ db, admin, modules, problems, catchUpRules, creditRules, budget }: StatusDeps): Promise<Pick<Status, 'incidents' | 'credits' | 'modules'>> {
  const runs = bulkRuns(db);
  const [allRuns, allChannels, held, open, positions, paused, now] = await Promise.all([runs.all(), channels(db).all(), deletionBreaker(db).held(), incidents(db).list(), nextByTopic(db), pauses(db).all(), databaseNow(db)]);
  const statuses = await Promise.all(
    modules.map(async (module) => {
      const { apiName } = module;
      const ofModule = allRuns.filter((one) => one.module === apiName);
      const run = ofModule.find(({ state }) => state === 'running') ?? ofModule.at(-1);
      const channel = allChannels.find((one) => one.module === apiName);
      const holding = held.find((one) => one.module === apiName);
      const pause = paused.find((one) => one.module === apiName);
      const { any: latest } = await catchUps(db).latest(apiName);
      const left = await readLeftOut(db, apiName);
      const behind = Math.max(0, (await endOf(admin, topicOf(module))) - (positions.get(topicOf(module)) ?? 0));
      return {
        module: apiName,
        state: pause === undefined ? stateOf(ofModule, { behind, isHeld: holding !== undefined, left }) : 'paused',
        paused: pause === undefined ? null : { since: pause.since.toISOString(), reason: pause.reason },
        channel: channel === undefined ? null : { grantedUntil: channel.grantedUntil.toISOString(), renewAt: channel.renewAt.toISOString() },
        run: run === undefined ? null : runStatus(run, await runs.pagesOf(run.id), now),
        catchUp: latest === undefined ? null : catchUpStatus(latest),
        heldDeletions: holding === undefined ? null : { deletions: holding.deletions, allowed: holding.allowed, heldAt: holding.heldAt.toISOString() },
        behind,
        parked: left.parked?.count ?? 0,
        halted: left.halted?.count ?? 0,
        aside: left.aside?.count ?? 0,
        deadLetters: left.deadLetters?.count ?? 0,
        missingFields: left.missingFields?.count ?? 0,
        incidents: openOf(open, apiName),
        problem: problems.get(apiName) ?? null,
      };
    }),
  );
  return { incidents: openOf(open, ''), credits: await creditsStatus({ db, modules, catchUpRules, creditRules, budget }), modules: statuses };
}

const openOf = (open: readonly Incident[], module: string): number => open.filter((incident) => incident.module === module).length;

async function creditsStatus({ db, modules, catchUpRules, creditRules, budget }: Required<Omit<StatusDeps, 'admin' | 'problems'>>): Promise<CreditsStatus> {
  const day = await creditUse(db).ofDay();
  const { perDay, reserve } = creditRules;
  const bucket = budget.state();
  const rates = await Promise.all(modules.map(async ({ apiName }) => changeRateOf((await catchUps(db).latest(apiName)).any) ?? 0));
  const everyMs = bucket === null ? 0 : lookEveryMs(bucket);
  return {
    perDay,
    spent: day.credits,
    left: creditsLeft(creditsOfDay(creditRules, day)),
    reserve: perDay === null ? null : perDay * reserve,
    catchUpIntervalMs: paidRules(catchUpRules, bucket, rates).intervalMs,
    lookEveryMs: Number.isFinite(everyMs) ? Math.round(everyMs) : null,
    isCoarser: bucket !== null && isCoarser(bucket),
    bucket: bucket === null ? null : { level: Math.floor(bucket.level), capacity: Math.floor(bucket.capacity) },
  };
}

const catchUpStatus = ({ state, from, wantedAt, result: { rows, unhinted, deleted } }: CatchUpRow): CatchUpStatus => ({ state, from: from.toISOString(), wantedAt: wantedAt.toISOString(), rows, unhinted, deleted });

/** Hints that the reader has not answered; null while Kafka does not answer. */
export const readHintsWaiting = (admin: Admin): Promise<number | null> => admin.groupLag('lockstep-reader', topics.notifications).catch(() => null);

function stateOf(runs: readonly BulkRunRow[], { behind, isHeld, left }: { behind: number; isHeld: boolean; left: LeftOutOfModule }): ModuleStatus['state'] {
  if (left.halted !== null) return 'halted';
  const initial = runs.filter(({ kind }) => kind === 'initial');
  if (initial.some(({ state }) => state === 'complete')) {
    if (behind > 0) return 'projecting';
    if (isHeld) return 'deletions held';
    return left.parked === null && left.aside === null && left.deadLetters === null && left.missingFields === null ? 'in step' : 'incomplete';
  }
  const latest = initial.at(-1);
  if (latest === undefined) return 'starting';
  return latest.state === 'failed' ? 'failed' : 'syncing';
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
    plan: expectedRows === null ? null : bulkPlan(expectedRows),
    rowsPerSecond,
    etaSeconds: run.state !== 'running' || left === null || rowsPerSecond === 0 ? null : Math.ceil(left / rowsPerSecond),
    startedAt: run.startedAt.toISOString(),
    finishedAt: run.finishedAt?.toISOString() ?? null,
    failure: run.failure ?? null,
  };
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
