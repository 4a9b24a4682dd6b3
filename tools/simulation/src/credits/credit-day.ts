import { defaultCatchUpRules } from '@lockstep/completeness';
import { CreditBudget, memoryCreditStore } from '@lockstep/crm-client';
import { createReaderMetrics, HintAnswerer, ingestReadyPages, PageWaits, readCatchUps } from '@lockstep/crm-reader';
import { createPlannerMetrics, Planner } from '@lockstep/crm-planner';
import { type Random, seededRandom } from '@lockstep/crm-simulator';
import type { ConsumedMessage } from '@lockstep/kafka';
import { type ModuleDefinition, topicOf } from '@lockstep/modules';
import { encodeHint, hintsOf } from '@lockstep/notifications';
import { createLogger, createMetrics } from '@lockstep/telemetry';

import { memoryFieldsMissing } from '../memory/memory-fields-missing.ts';
import { memoryClockReports } from '../memory/memory-clock-reports.ts';
import { memoryIncidents } from '../memory/memory-incidents.ts';
import { memoryBulkRuns, memoryCatchUps, memoryChannels, memoryWatermarks } from '../memory/memory-jobs.ts';
import { memoryLooksAside } from '../memory/memory-looks-aside.ts';
import { simulatedDeals, simulatedLeads, simulatedProducts } from '../modules.ts';
import { VirtualTime } from '../virtual-time.ts';
import { ChargingCrm } from './charging-crm.ts';
import { CreditCount } from './credit-count.ts';
import { EditedRecords } from './edited-records.ts';
import { PublishedRegister } from './published-register.ts';

/** A day of a CRM that is edited at a steady pace. */
export type CreditDay = {
  readonly seed: number;
  /** Edits a second in each of three modules. */
  readonly editsPerSecond: number;
  /** Credits of 24 hours, and the share that is left to others. */
  readonly perDay: number;
  readonly reserve?: number;
  /** Hours before the one day that is measured: the buckets are full at the beginning of it all. */
  readonly warmUpHours?: number;
  readonly measuredHours?: number;
  /** Hours, from the beginning on, between which the CRM answers nothing. */
  readonly away?: { readonly fromHour: number; readonly toHour: number };
};

/** What came of it. Latencies are from an edit to the message that shows it, milliseconds. */
export type CreditDayResult = {
  readonly edits: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly maxMs: number;
  /** The most that the CRM charged in any 24 hours, and what it may. */
  readonly mostOfADay: number;
  readonly allowed: number;
  readonly byPurpose: ReadonlyMap<string, number>;
  /** How far the oldest edit lies back that was not seen at the end. */
  readonly unseenMs: number;
  readonly incidents: ReadonlySet<string>;
  readonly catchUps: number;
};

const HOUR_MS = 3_600_000;
const START_MS = Date.parse('2026-05-04T00:00:00Z');
const EPSILON_MS = 60_000;
const TICK_MS = 1_000;
const ROUND_MS = 4_000;
const log = createLogger({ app: 'simulation', level: 'silent', isPretty: false });
const registry = createMetrics({ app: 'credits' });
const metrics = { ...createReaderMetrics(registry), ...createPlannerMetrics(registry) };
const onlyField = (module: ModuleDefinition, field: string): ModuleDefinition => ({ ...module, fields: module.fields.filter((one) => one.field === field) });
const fieldOf: Readonly<Record<string, string>> = { Leads: 'Last_Name', Deals: 'Deal_Name', Products: 'Product_Name' };
const modules = [simulatedLeads, simulatedDeals, simulatedProducts].map((module) => onlyField(module, fieldOf[module.apiName] ?? ''));

/** Lives it: the planner and the reader of the apps, each with a budget of its own over shared buckets, and a CRM that counts what it charges. */
export async function liveCreditDay({ seed, editsPerSecond, perDay, reserve = 0.25, warmUpHours = 6, measuredHours = 24, away }: CreditDay): Promise<CreditDayResult> {
  const time = new VirtualTime(START_MS, seededRandom(seed));
  const random = seededRandom(seed ^ 0x0c4e);
  const records = new Map(modules.map(({ apiName }) => [apiName, new EditedRecords({ field: fieldOf[apiName] ?? '', count: Math.max(2_000, Math.min(100_000, editsPerSecond * 10_000)), startMs: START_MS })]));
  const count = new CreditCount();
  const crm = new ChargingCrm({ time, records, count });
  const installation = new Installation({ time, crm, count, records, perDay, reserve, random });
  const waits: number[] = [];
  let edits = 0;
  const measuredFromMs = START_MS + warmUpHours * HOUR_MS;
  for (const one of records.values()) one.onSeen = (waitedMs, editedMs) => void (editedMs >= measuredFromMs && waits.push(waitedMs));
  installation.start();
  for (const [module, one] of records) {
    edit({ time, random, editsPerSecond }, (howMany) => {
      const ids = Array.from({ length: howMany }, () => random.below(one.count));
      for (const record of ids) one.edit(record, time.now());
      edits += howMany;
      if (crm.isListening(module)) time.after(100 + random.below(3_000), () => installation.notified(module, ids.map((record) => one.idOf(record))));
    });
  }
  for (let hour = 0; hour < warmUpHours + measuredHours; hour += 1) {
    crm.isAway = away !== undefined && hour >= away.fromHour && hour < away.toHour;
    await time.advance(HOUR_MS);
  }
  installation.stop();
  const sorted = Float64Array.from(waits).toSorted();
  const at = (share: number): number => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;
  const unseenMs = Math.max(0, ...[...records.values()].map((one) => time.now() - (one.oldestUnseenMs() ?? time.now())));
  return { edits, p50Ms: at(0.5), p99Ms: at(0.99), maxMs: at(1), mostOfADay: count.mostOfADay(), allowed: perDay * (1 - reserve), byPurpose: count.byKind, unseenMs, incidents: installation.incidents, catchUps: installation.caughtUp };
}

/** Edits at a steady pace, by chance: several within a second where there are many. */
function edit({ time, random, editsPerSecond }: { time: VirtualTime; random: Random; editsPerSecond: number }, make: (howMany: number) => void): void {
  const perTick = editsPerSecond * (TICK_MS / 1_000);
  const waitMs = (): number => (perTick >= 1 ? TICK_MS : Math.max(1, (-Math.log(1 - random.next()) * 1_000) / editsPerSecond));
  const tick = (): void => {
    make(perTick >= 1 ? perTick : 1);
    time.after(waitMs(), tick);
  };
  time.after(waitMs(), tick);
}

type InstallationDeps = { readonly time: VirtualTime; readonly crm: ChargingCrm; readonly count: CreditCount; readonly records: ReadonlyMap<string, EditedRecords>; readonly perDay: number; readonly reserve: number; readonly random: Random };

/** A reader and a planner. */
class Installation {
  readonly #deps: InstallationDeps;
  readonly #stopping = new AbortController();
  readonly #runs: ReturnType<typeof memoryBulkRuns>;
  readonly #catchUps: ReturnType<typeof memoryCatchUps>;
  readonly #buckets: ReturnType<typeof memoryCreditStore>;
  readonly #register: PublishedRegister;
  readonly incidents = new Set<string>();
  #answerer: HintAnswerer | undefined;
  #offset = 0;

  constructor(deps: InstallationDeps) {
    const now = (): Date => new Date(deps.time.now());
    this.#deps = deps;
    this.#runs = memoryBulkRuns(now);
    this.#catchUps = memoryCatchUps(now);
    this.#buckets = memoryCreditStore(() => deps.time.now());
    this.#register = new PublishedRegister({ records: new Map(modules.map((module) => [topicOf(module), deps.records.get(module.apiName) as EditedRecords])), now: () => deps.time.now() });
  }

  get caughtUp(): number {
    return this.#catchUps.rows().filter(({ state }) => state === 'complete').length;
  }

  start(): void {
    this.#read();
    this.#plan();
  }

  stop(): void {
    this.#stopping.abort();
  }

  notified(module: string, ids: readonly string[]): void {
    const nowMs = this.#deps.time.now();
    const hints = hintsOf({ module, ids, operation: 'update', channelId: '1', token: '', serverTimeMs: nowMs }, nowMs);
    const messages = hints.map((hint): ConsumedMessage => ({ offset: this.#offset++, key: Buffer.from(hint.id), value: Buffer.from(encodeHint(hint)), timestampMs: nowMs, header: () => undefined }));
    const from = this.#offset - messages.length;
    void this.#answerer?.take({ partition: 0, from, messages, following: this.#offset });
  }

  #budget(): CreditBudget {
    const { perDay, reserve, time } = this.#deps;
    const budget = new CreditBudget({ store: this.#buckets, rules: { perDay, reserve }, time });
    this.#repeat(5_000, () => budget.refresh());
    return budget;
  }

  #shared() {
    const { time, records } = this.#deps;
    const topicByName = new Map(modules.map((module) => [module.apiName, topicOf(module)]));
    const known = (module: string): string => topicByName.get(module) ?? module;
    return {
      modules,
      metrics,
      log,
      time,
      epsilonMs: EPSILON_MS,
      runs: this.#runs,
      catchUps: this.#catchUps,
      producer: this.#register.producer,
      register: this.#register.reader(known),
      audits: this.#register.audits((module) => records.get(module)?.count ?? 0),
      breaker: { admits: async () => true, passed: async () => undefined, held: async () => [] },
      looks: { want: async () => undefined },
      referrers: { to: async () => [] },
    };
  }

  #read(): void {
    const { time, crm } = this.#deps;
    const budget = this.#budget();
    const { client, results } = crm.connect(budget);
    const deps = { ...this.#shared(), crm: client, results, budget, signal: this.#stopping.signal, lookIntervalMs: 100, deadLetters: { put: async () => undefined }, aside: memoryLooksAside(() => time.now()), waits: new PageWaits(time) };
    const answerer = new HintAnswerer(deps);
    this.#answerer = answerer;
    this.#repeat(2_000, () => answerer.askAgain());
    this.#repeat(1_000, () => ingestReadyPages(deps, this.#stopping.signal));
    this.#repeat(1_000, () => readCatchUps(deps));
  }

  #plan(): void {
    const { time, crm, count, perDay, reserve } = this.#deps;
    const budget = this.#budget();
    const now = (): Date => new Date(time.now());
    const watermarks = memoryWatermarks(now);
    const incidents = memoryIncidents(now);
    const planner = new Planner({
      ...this.#shared(),
      now,
      budget,
      secret: 'a secret of the simulation',
      publicUrl: 'https://lockstep.invalid',
      refreshEveryMs: 7 * 24 * HOUR_MS,
      catchUpRules: defaultCatchUpRules,
      clocks: memoryClockReports(now),
      crm: crm.connect(budget).client,
      admin: { topicId: async (topic) => topic, topicOffsets: async () => [{ partition: 0, low: 0, high: 0 }] },
      signals: { send: async () => undefined },
      channels: memoryChannels(),
      fields: memoryFieldsMissing(),
      watermarks: { ...watermarks, reached: (module, kind) => watermarks.current(module, kind) },
      incidents: {
        ...incidents,
        open: (module, kind, details) => {
          this.incidents.add(kind);
          return incidents.open(module, kind, details);
        },
      },
      credits: { ofDay: async () => ({ credits: { look: 0, 'catch-up': 0, 'bulk-read': 0, retry: 0, other: count.ofDay(time.elapsed()) }, remaining: null }) },
      creditRules: { perDay, reserve },
    });
    for (const module of modules) this.#repeat(ROUND_MS, () => planner.round(module, { pollAll: false }));
  }

  #repeat(everyMs: number, body: () => Promise<unknown>): void {
    const { time } = this.#deps;
    const { signal } = this.#stopping;
    const loop = async (): Promise<void> => {
      while (!signal.aborted) {
        // As a loop of the apps does: what failed is tried again in the next round.
        await body().catch(() => undefined);
        await time.sleep(everyMs, signal);
      }
    };
    void loop(); // Never rejects.
  }
}
