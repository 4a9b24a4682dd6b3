import type { CrmClient } from '@lockstep/crm-client';
import { advanced, bulkPlan, type CatchUpRules, dueCatchUp, hasPassed, wholeSecond } from '@lockstep/completeness';
import type { Admin } from '@lockstep/kafka';
import { type ModuleDefinition, topicOf } from '@lockstep/modules';
import type { BulkRunRow, BulkRuns, CatchUpRow, CatchUps, Channels, Claim, DeletionBreaker, Signals, Watermarks } from '@lockstep/postgres';
import { crashPoint, type Logger } from '@lockstep/telemetry';

import { isStuck } from './fault-watch.ts';

/*
 * A catch-up's way, one row of `lockstep.catch_up`:
 *
 *   wanted ──(ingress: window, deleted list)──▶ read ──────────────────────────▶ complete: the watermark is moved
 *      │                                          ▲
 *      │                    too-large ──bulk run──┘
 *      │                        └── no bulk run can be had: complete as far as it was read, and the next one goes on from there
 *      └── failed: planned again, from the same watermark, soon at first
 */

export type CatchUpDeps = {
  readonly runs: BulkRuns;
  readonly channels: Channels;
  readonly catchUps: CatchUps;
  readonly watermarks: Watermarks;
  readonly breaker: Pick<DeletionBreaker, 'held'>;
  readonly admin: Pick<Admin, 'topicId' | 'topicOffsets'>;
  readonly signals: Pick<Signals, 'send'>;
  readonly catchUpRules: CatchUpRules;
  readonly crm: Pick<CrmClient, 'time'>;
  /** The database's time: what is due is noted by it. */
  readonly now: () => Date;
  readonly log: Logger;
};

/**
 * Plans a module's next catch-up when it is due, moves the one under way on, and claims what has been read.
 * @param isScanWanted whether the next one is to read all deletions that the CRM still lists, however long ago that was done.
 * @returns whether one is under way.
 */
export async function catchUp(deps: CatchUpDeps, module: ModuleDefinition, { isScanWanted = false }: { isScanWanted?: boolean } = {}): Promise<boolean> {
  const runs = (await deps.runs.all()).filter((run) => run.module === module.apiName);
  await claimFullReadings(deps, module, runs);
  const base = await watermarkOf(deps, module, runs);
  if (base === null) return false;
  const open = (await deps.catchUps.open()).find((one) => one.module === module.apiName);
  if (open === undefined) return await plan(deps, module, base, isScanWanted);
  await moveOn(deps, module, open, base, runs);
  return true;
}

type Base = { readonly watermarkMs: number; readonly isClaimed: boolean };

/** Where the next reading has to begin: the watermark, or, before there is one, where the first load began. */
async function watermarkOf({ watermarks, catchUpRules }: CatchUpDeps, { apiName }: ModuleDefinition, runs: readonly BulkRunRow[]): Promise<Base | null> {
  const claimed = await watermarks.current(apiName, 'changes');
  if (claimed !== null) return { watermarkMs: claimed.getTime(), isClaimed: true };
  const initial = runs.find(({ kind, state }) => kind === 'initial' && state === 'complete');
  const firstJobMs = initial?.firstJobCreatedAt?.getTime();
  return firstJobMs === undefined ? null : { watermarkMs: wholeSecond(firstJobMs - catchUpRules.marginMs), isClaimed: false };
}

async function plan({ catchUps, channels, breaker, signals, catchUpRules, crm, now }: CatchUpDeps, { apiName }: ModuleDefinition, { watermarkMs, isClaimed }: Base, isScanWanted: boolean): Promise<boolean> {
  const { any, secondPass, restoreScan, scanTried } = await catchUps.latest(apiName);
  const isHeld = (await breaker.held()).some(({ module }) => module === apiName);
  // While deletions are held, people decide: everything is read at its usual pace.
  const failures = isHeld ? 0 : (await catchUps.failing(apiName)).failures;
  const startedMs = (catchUp: CatchUpRow | undefined): number | null => catchUp?.wantedAt.getTime() ?? null;
  const history = { lastStartedMs: startedMs(any), lastSecondPassMs: startedMs(secondPass), lastRestoreScanMs: isScanWanted ? null : startedMs(restoreScan), lastScanTriedMs: isScanWanted || isHeld ? null : startedMs(scanTried), failures };
  const due = dueCatchUp({ nowMs: now().getTime(), crmMs: crm.time().earliestMs }, watermarkMs, history, catchUpRules);
  if (due === null) return false;
  // Before the first claim nothing is said about deletions: then they are read from the first moment anything could be seen.
  const openedMs = (await channels.all()).find(({ module }) => module === apiName)?.openedAt.getTime() ?? due.deletedFromMs;
  const deletedFromMs = isClaimed ? due.deletedFromMs : Math.min(due.deletedFromMs, openedMs - catchUpRules.marginMs);
  await catchUps.want(apiName, { from: new Date(due.fromMs), deletedFrom: new Date(deletedFromMs), isSecondPass: due.isSecondPass, isRestoreScan: due.isRestoreScan, scanFrom: due.scanFromMs === null ? null : new Date(due.scanFromMs) });
  await signals.send('ready');
  return true;
}

async function moveOn(deps: CatchUpDeps, module: ModuleDefinition, open: CatchUpRow, base: Base, runs: readonly BulkRunRow[]): Promise<void> {
  switch (open.state) {
    case 'read':
      return await claim(deps, module, open, base, open.startedAt?.getTime() ?? null);
    case 'too-large':
      return await continueInBulk(deps, module, open, base, runs);
    case 'wanted':
    case 'complete':
    case 'failed':
  }
}

async function continueInBulk(deps: CatchUpDeps, module: ModuleDefinition, open: CatchUpRow, base: Base, runs: readonly BulkRunRow[]): Promise<void> {
  if (open.bulkRunId === null) {
    if (await isBulkInTrouble(deps, module, runs)) return await claimPart(deps, module, open, base, 'no bulk job can be had now');
    const run = await deps.runs.start(module.apiName, 'catch-up', { fromTime: open.from });
    if (run === null) return;
    await deps.catchUps.continuedBy(open.id, run.id);
    // It is read whatever it costs: what the queries have cost already would be lost, and more of them cost more.
    deps.log.info({ module: module.apiName, run: run.id, planOfAtLeast: bulkPlan(open.result.rows) }, 'a large catch-up goes on in bulk');
    return;
  }
  const run = runs.find(({ id }) => id === open.bulkRunId);
  if (run?.state === 'failed') return await claimPart(deps, module, open, base, run.failure ?? 'the bulk run failed');
  // The deleted list was read before the bulk run began, so nothing after that is claimed.
  if (run?.state === 'complete') await claim(deps, module, open, base, open.startedAt?.getTime() ?? null);
}

/** For how long after a bulk run of a catch-up failed the next large ones are read by queries. */
const NO_BULK_AFTER_MS = 6 * 3_600_000;

/** Whether the module's run waits for a page that cannot be read, or a large catch-up's failed a while ago. */
async function isBulkInTrouble({ runs: store, now }: CatchUpDeps, { apiName }: ModuleDefinition, runs: readonly BulkRunRow[]): Promise<boolean> {
  const failed = runs.findLast(({ kind }) => kind === 'catch-up');
  if (failed?.state === 'failed' && !hasPassed(failed.finishedAt?.getTime() ?? 0, NO_BULK_AFTER_MS, now().getTime())) return true;
  return (await store.openPages()).some((page) => page.module === apiName && isStuck(page));
}

/** What the queries have read counts, so that the next catch-up begins behind it: they cost about as much as a bulk job, and only take longer. */
async function claimPart(deps: CatchUpDeps, module: ModuleDefinition, open: CatchUpRow, base: Base, reason: string): Promise<void> {
  const { readUpTo, startedAt } = open;
  const isBehind = readUpTo === null || startedAt === null || readUpTo.getTime() <= base.watermarkMs;
  // What was read of a second pass counts, or it would be repeated without end; changes of one second only would be read from that second again.
  if (isBehind) return await (open.isSecondPass && readUpTo !== null ? deps.catchUps.complete(open.id) : deps.catchUps.failed(open.id, reason));
  deps.log.info({ module: module.apiName, readUpTo, reason }, 'a large catch-up goes on by queries');
  await claim(deps, module, open, base, Math.min(startedAt.getTime(), readUpTo.getTime() + deps.catchUpRules.marginMs));
}

/** @param startedMs when the reading began, or would have begun if it had read no more than it did. */
async function claim(deps: CatchUpDeps, module: ModuleDefinition, { id, from }: CatchUpRow, { watermarkMs, isClaimed }: Base, startedMs: number | null): Promise<void> {
  const reading = { fromMs: from.getTime(), startedMs: startedMs ?? Number.NEGATIVE_INFINITY, nowMs: deps.crm.time().earliestMs, isWithDeletions: true };
  const movedMs = advanced(watermarkMs, reading, deps.catchUpRules.marginMs);
  crashPoint('catch-up-read');
  if (movedMs !== null && (movedMs > watermarkMs || !isClaimed)) await note(deps, module, 'changes', new Date(movedMs));
  crashPoint('watermark-noted');
  await deps.catchUps.complete(id);
}

/** A whole module was read: everything that stood in the CRM when the first job was created is in the log. */
async function claimFullReadings(deps: CatchUpDeps, module: ModuleDefinition, runs: readonly BulkRunRow[]): Promise<void> {
  const full = runs.findLast(({ kind, state }) => kind !== 'catch-up' && state === 'complete');
  const at = full?.firstJobCreatedAt ?? null;
  if (at === null) return;
  const claimed = await deps.watermarks.current(module.apiName, 'everything');
  if (claimed === null || claimed < at) await note(deps, module, 'everything', at);
}

async function note({ admin, watermarks, log }: CatchUpDeps, module: ModuleDefinition, kind: Claim['kind'], at: Date): Promise<void> {
  const topic = topicOf(module);
  const topicId = await admin.topicId(topic);
  const offsets = await admin.topicOffsets(topic);
  const endOffsets = offsets.toSorted((a, b) => a.partition - b.partition).map(({ high }) => high);
  await watermarks.note({ module: module.apiName, kind, at, topicId, endOffsets });
  log.info({ module: module.apiName, kind, at }, 'watermark moved');
}
