import { join } from 'node:path';

import type { CreditBudget, CrmClient } from '@lockstep/crm-client';
import { coverageMessages, type DeadLetters, downloadedResults, FieldFacts, ingestReadyPages, MissingFields, PageWaits, readCatchUps, readHints, removeLeftDownloads, WholeTexts } from '@lockstep/crm-reader';
import type { Admin, KafkaClient, Producer } from '@lockstep/kafka';
import { type ModuleDefinition, topicOf } from '@lockstep/modules';
import { bulkRuns, catchUps, clockReports, fieldsMissing, looksAside, type LooksAside, type Database, type DeletionBreaker, deletionBreaker, lease, partitionStates, type Referrers, referrers, type RegisterReader, registerReader, type Signals, textCuts, type WantedLooks, wantedLooks } from '@lockstep/postgres';
import { loop, type Logger } from '@lockstep/telemetry';

import { type IngressMetrics, setClockMetrics } from './metrics.ts';

export type ReaderDeps = {
  readonly db: Database;
  readonly signals: Signals;
  readonly kafka: KafkaClient;
  readonly admin: Admin;
  readonly producer: Producer;
  readonly deadLetters: DeadLetters;
  readonly crm: CrmClient;
  readonly budget: Pick<CreditBudget, 'state'>;
  readonly modules: readonly ModuleDefinition[];
  readonly dataDir: string;
  readonly lookIntervalMs: number;
  readonly epsilonMs: number;
  readonly metrics: IngressMetrics;
  readonly log: Logger;
  readonly signal: AbortSignal;
  readonly onFatal: (error: unknown) => void;
};

const CONTEND_EVERY_MS = 1_000;
const LOOK_FOR_WORK_EVERY_MS = 1_000;
const REPORT_CLOCKS_EVERY_MS = 5_000;

/**
 * The one process that reads the CRM's records: it waits for the lease, then answers hints, takes bulk results and catches up until the
 * lease or the process ends. The CRM's limits are per organisation, so there is one reader, and the others stand by.
 */
export const runReader = (deps: ReaderDeps): Promise<void> =>
  loop({ name: 'reader', everyMs: CONTEND_EVERY_MS, signal: deps.signal, log: deps.log, body: () => readUnderLease(deps) });

async function readUnderLease(deps: ReaderDeps): Promise<void> {
  const held = await lease(deps.db, 'reader');
  if (held === null) return;
  const { log, metrics } = deps;
  log.info('this process is the reader');
  metrics.isReader.set(1);
  const signal = AbortSignal.any([deps.signal, held.signal]);
  try {
    await declareCoverages(deps);
    const facts = new FieldFacts(deps);
    await facts.readDue();
    const missing = new MissingFields({ ...deps, store: fieldsMissing(deps.db), catchUps: catchUps(deps.db), runs: bulkRuns(deps.db) });
    await missing.recall();
    const crm = { ...deps.crm, ...missing.readings };
    const texts = new WholeTexts({ ...deps, crm, facts, cuts: textCuts(deps.db) });
    await texts.recall();
    const under: UnderLease = { ...deps, crm, missing, signal, facts, texts, register: registerReader(deps.db), breaker: deletionBreaker(deps.db), referrers: referrers(deps.db, deps.modules), looks: wantedLooks(deps.db), aside: looksAside(deps.db) };
    await Promise.all([facts.keepReading(signal), missing.keepChecking(signal), readHints({ ...under, partitions: partitionStates(deps.db) }), readPages(under), catchUpWhenWanted(under), reportClocks(under)]);
  } finally {
    metrics.isReader.set(0);
    await held.release();
  }
}

async function declareCoverages(deps: ReaderDeps): Promise<void> {
  for (const module of deps.modules) await declareCoverage(deps, module);
}

/** Each partition holds the coverage before the first event that names it. Declaring it again changes nothing. */
async function declareCoverage({ admin, producer }: Pick<ReaderDeps, 'admin' | 'producer'>, module: ModuleDefinition): Promise<void> {
  const topic = topicOf(module);
  await producer.send(topic, coverageMessages(module, await admin.partitionsOf(topic), Date.now()), { timeoutMs: 30_000 });
}

type UnderLease = ReaderDeps & { readonly missing: MissingFields; readonly facts: FieldFacts; readonly texts: WholeTexts; readonly register: RegisterReader; readonly breaker: DeletionBreaker; readonly referrers: Referrers; readonly looks: WantedLooks; readonly aside: LooksAside };

/** Each module by itself: a page that takes long, or cannot be downloaded, makes no other module wait. */
const readPages = async (deps: UnderLease): Promise<void> => {
  const runs = bulkRuns(deps.db);
  const folder = join(deps.dataDir, 'downloads');
  await removeLeftDownloads(folder);
  const results = downloadedResults({ crm: deps.crm, folder });
  const readOf = (module: ModuleDefinition): Promise<void> => {
    const pages = { ...deps, modules: [module], runs, results, waits: new PageWaits(), declare: (covered: ModuleDefinition) => declareCoverage(deps, covered) };
    return loop({
      name: `bulk pages of ${module.apiName}`,
      everyMs: LOOK_FOR_WORK_EVERY_MS,
      signal: deps.signal,
      log: deps.log,
      body: () => ingestReadyPages(pages, deps.signal),
      wake: (until) => deps.signals.next('ready', until),
    });
  };
  await Promise.all(deps.modules.map(readOf));
};

const catchUpWhenWanted = (deps: UnderLease): Promise<void> => {
  const work = { ...deps, catchUps: catchUps(deps.db) };
  return loop({
    name: 'catch-ups',
    everyMs: LOOK_FOR_WORK_EVERY_MS,
    signal: deps.signal,
    log: deps.log,
    body: () => readCatchUps(work),
    wake: (until) => deps.signals.next('ready', until),
  });
};

/** What this process sees of the clocks: for the leader, which makes incidents of it, and as metrics. */
const reportClocks = ({ db, crm, metrics, log, signal }: UnderLease): Promise<void> => {
  const clocks = clockReports(db);
  return loop({
    name: 'clocks',
    everyMs: REPORT_CLOCKS_EVERY_MS,
    signal,
    log,
    body: async () => {
      const report = crm.clock();
      setClockMetrics(metrics, report);
      await clocks.note('reader', { ...report, now: new Date(crm.time().earliestMs) });
    },
  });
};
