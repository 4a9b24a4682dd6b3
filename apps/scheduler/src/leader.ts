import { type AlertConfig, Alerter } from '@lockstep/alerts';
import { loggedWatermarks } from '@lockstep/claims';
import type { CatchUpRules } from '@lockstep/completeness';
import type { CrmClient } from '@lockstep/crm-client';
import { type CreditRules, hintWantedLooks, type PlanBudget, Planner, reportLeftOut, Reporter, reportUnreadHints } from '@lockstep/crm-planner';
import type { Admin, KafkaClient, Producer } from '@lockstep/kafka';
import type { ModuleDefinition } from '@lockstep/modules';
import { bulkRuns, catchUps, channels, clockReports, creditUse, type Database, databaseClock, deadLetterStore, deletionBreaker, fieldsMissing, incidents, fencedLease, type LeftOutOfModule, readLeftOut, readUnreadHints, registerAudits, schemaLost, type Signals, trimHistory, wantedLooks, watermarks } from '@lockstep/postgres';
import { loop, type Logger } from '@lockstep/telemetry';

import type { SchedulerMetrics } from './metrics.ts';
import { indexLogs } from './log-indexer.ts';
import { recallClaims } from './recall-claims.ts';
import { Verifier } from './verifier.ts';

export type LeaderDeps = {
  readonly db: Database;
  readonly signals: Signals;
  readonly crm: CrmClient;
  readonly kafka: KafkaClient;
  readonly admin: Pick<Admin, 'checkLogTopic' | 'ensureTopics' | 'partitionsOf' | 'topicId' | 'topicOffsets'>;
  readonly producer: Pick<Producer, 'send'>;
  readonly modules: readonly ModuleDefinition[];
  readonly secret: string;
  readonly publicUrl: string;
  readonly catchUpRules: CatchUpRules;
  readonly creditRules: CreditRules;
  readonly budget: PlanBudget;
  readonly refreshEveryMs: number;
  /** From one comparison of a table with its log to the next; 0 for none. */
  readonly verifyEveryMs: number;
  readonly alerts: AlertConfig;
  readonly metrics: SchedulerMetrics;
  readonly log: Logger;
  readonly signal: AbortSignal;
  readonly problems: Problems;
};

/** What keeps a module from going on, by API name; shown by the status and the readiness check. */
export type Problems = Map<string, string>;

const CONTEND_EVERY_MS = 1_000;
const ROUND_EVERY_MS = 500;
/** While nothing is under way; a round asks the database a dozen questions a module. */
const IDLE_ROUND_EVERY_MS = 2_000;
const HINT_EVERY_MS = 1_000;
const VERIFY_ROUND_EVERY_MS = 10_000;
const INDEX_EVERY_MS = 60_000;
const ALERT_EVERY_MS = 2_000;
const LEFT_OUT_EVERY_MS = 5_000;
const TRIM_EVERY_MS = 3_600_000;

/** The one process that plans the reading of the CRM: it waits for the lease, then goes from module to module, round after round. */
export const runLeader = (deps: LeaderDeps): Promise<void> =>
  loop({ name: 'leader', everyMs: CONTEND_EVERY_MS, signal: deps.signal, log: deps.log, body: () => leadUnderLease(deps) });

async function leadUnderLease(deps: LeaderDeps): Promise<void> {
  const held = await fencedLease(deps.db, 'scheduler');
  if (held === null) return;
  const { log, metrics, signals } = deps;
  log.info('this process leads');
  metrics.isLeader.set(1);
  // A late answer of a former leader changes nothing.
  const db = await deps.db.fenced(held);
  try {
    const clock = await databaseClock(db);
    const jobs = { ...deps, now: () => clock.now(), clocks: clockReports(db), runs: bulkRuns(db), fields: fieldsMissing(db), channels: channels(db), catchUps: catchUps(db), watermarks: loggedWatermarks(watermarks(db), deps), breaker: deletionBreaker(db), credits: creditUse(db), incidents: incidents(db), audits: registerAudits(deps.db), looks: wantedLooks(db) };
    const signal = AbortSignal.any([deps.signal, held.signal]);
    const planner = new Planner(jobs);
    const idleMs = Math.min(IDLE_ROUND_EVERY_MS, Math.max(ROUND_EVERY_MS, deps.catchUpRules.intervalMs / 4));
    const recalled = new Set<string>();
    let isPollWanted = false;
    let isUnderWay = true;
    const poll = async (until: AbortSignal): Promise<void> => {
      await signals.next('poll', until);
      if (!until.aborted) isPollWanted = true;
    };
    const reporter = new Reporter(jobs);
    const verifier = new Verifier({ ...deps, reporter, signal });
    const verifying = loop({
      name: 'verification',
      everyMs: Math.min(VERIFY_ROUND_EVERY_MS, Math.max(ROUND_EVERY_MS, deps.verifyEveryMs / 4)),
      signal,
      log,
      body: async () => {
        for (const module of deps.modules) await verifier.verify(module);
      },
    });
    const indexing = loop({ name: 'log index', everyMs: INDEX_EVERY_MS, signal, log, body: () => indexLogs({ ...deps, signal }) });
    const alerter = await Alerter.start({ ...deps, config: deps.alerts, count: metrics.alerts });
    const watching = loop({
      name: 'what is left out',
      everyMs: LEFT_OUT_EVERY_MS,
      signal,
      log,
      body: async () => {
        for (const module of deps.modules) await reportLeftOut({ leftOut: (name) => leftOutOf(db, name), reporter }, module);
        await reportUnreadHints({ unreadHints: () => readUnreadHints(db), reporter });
      },
    });
    const alerting = loop({ name: 'alerts', everyMs: ALERT_EVERY_MS, signal, log, body: () => alerter.round() });
    const trimming = loop({
      name: 'history',
      everyMs: TRIM_EVERY_MS,
      signal,
      log,
      body: async () => {
        const removed = await trimHistory(db);
        if (removed.catchUps + removed.runs + removed.incidents > 0) log.info(removed, 'old history was removed');
      },
    });
    const hinting = loop({ name: 'wanted looks', everyMs: HINT_EVERY_MS, signal, log, body: () => hintWantedLooks(jobs) });
    await loop({
      name: 'round',
      everyMs: () => (isUnderWay ? ROUND_EVERY_MS : idleMs),
      signal,
      log,
      wake: poll,
      body: async () => {
        const pollAll = isPollWanted;
        isPollWanted = false;
        isUnderWay = false;
        // It may have been set; and the monotonic clock stands still while a machine sleeps.
        await clock.read();
        for (const module of deps.modules) {
          const round = async (): Promise<boolean> => {
            if (!recalled.has(module.apiName) && !(await recallClaims(deps, module))) {
              await planner.reportGaps(module);
              return true;
            }
            recalled.add(module.apiName);
            return await planner.round(module, { pollAll });
          };
          if (await attempt(deps, module, round)) isUnderWay = true;
        }
      },
    });
    await Promise.all([hinting, verifying, indexing, trimming, watching, alerting]);
  } finally {
    metrics.isLeader.set(0);
    await held.release();
    // One that does not answer cannot be closed in order.
    db.close().catch((error: unknown) => log.warn({ err: error }, 'the connections of the former leader could not be closed'));
  }
}

/** One module's trouble does not stop the others. @returns whether something of it is under way. */
async function attempt({ problems, log, metrics }: LeaderDeps, { apiName }: ModuleDefinition, work: () => Promise<boolean>): Promise<boolean> {
  try {
    const isUnderWay = await work();
    problems.delete(apiName);
    return isUnderWay;
  } catch (error) {
    const problem = schemaLost(error)?.message ?? (error instanceof Error ? error.message : String(error));
    metrics.failures.inc({ module: apiName });
    if (problems.get(apiName) !== problem) log.error({ err: error, module: apiName }, 'a module cannot go on; it will be tried again');
    problems.set(apiName, problem);
    return true;
  }
}

/** What a module lacks, once what a later reading has settled is no part of it. */
async function leftOutOf(db: Database, module: string): Promise<LeftOutOfModule> {
  await deadLetterStore(db).resolve(module);
  return await readLeftOut(db, module);
}
