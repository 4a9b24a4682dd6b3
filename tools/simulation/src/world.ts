import { coverageMessages, createReaderMetrics, HintAnswerer, ingestReadyPages, MissingFields, PageWaits, readCatchUps } from '@lockstep/crm-reader';
import { createPlannerMetrics, hintWantedLooks, Planner, Reporter, reportLeftOut, startRefresh } from '@lockstep/crm-planner';
import { type Random, seededRandom } from '@lockstep/crm-simulator';
import { defaultCatchUpRules } from '@lockstep/completeness';
import type { ApiVersion } from '@lockstep/crm-client';
import { type ModuleDefinition, topicOf, topics } from '@lockstep/modules';
import { encodeHint, hintsOf } from '@lockstep/notifications';
import { createLogger, createMetrics } from '@lockstep/telemetry';

import { Meetings, type Phase } from './faults.ts';
import { type HostClocks, hostClocks } from './host-clocks.ts';
import { memoryLooksAside } from './memory/memory-looks-aside.ts';
import { memoryBulkRuns, memoryCatchUps, memoryChannels, memoryWatermarks } from './memory/memory-jobs.ts';
import { memoryClockReports } from './memory/memory-clock-reports.ts';
import { memoryFieldsMissing } from './memory/memory-fields-missing.ts';
import { memoryLeftOut } from './memory/memory-left-out.ts';
import { memoryIncidents } from './memory/memory-incidents.ts';
import { memoryLog } from './memory/memory-log.ts';
import { memoryTables } from './memory/memory-register.ts';
import type { ParkedMessage } from './memory/parked-messages.ts';
import { tableRules } from './modules.ts';
import { VirtualCrm } from './virtual-crm.ts';
import { VirtualGroup } from './virtual-group.ts';
import { type Part, type Trouble, VirtualProcess } from './virtual-process.ts';
import { partitionName, VirtualProjector } from './virtual-projector.ts';
import { VirtualTime } from './virtual-time.ts';

/** The processes of a world. Each is started again after it dies. */
export const roles = ['receiver', 'reader', 'planner', 'projector', 'second-projector'] as const;
export type Role = (typeof roles)[number];
const projectors = ['projector', 'second-projector'] as const;
type ProjectorRole = (typeof projectors)[number];

/** Probabilities that a call of a process fails although the process lives. */
export type Troubles = { readonly store: number; readonly log: number; readonly half: number };
export const noTroubles: Troubles = { store: 0, log: 0, half: 0 };

export type WorldOptions = {
  readonly seed: number;
  readonly modules: readonly ModuleDefinition[];
  /** Records of each module at the beginning. */
  readonly records: number;
  /** Rows of a page of a bulk read. */
  readonly pageSize?: number;
  readonly version?: ApiVersion;
  readonly epsilonMs?: number;
  /** How far the clocks of the CRM's hosts are off, at most. */
  readonly skewMs?: number;
  readonly catchUpIntervalMs?: number;
  readonly restoreScanEveryMs?: number;
  readonly refreshEveryMs?: number;
  /** From one round of a process to its next, at most. */
  readonly paceMs?: number;
  readonly startMs?: number;
};

const PARTITIONS = 2;
const EPSILON_MS = 60_000;
const secret = 'a secret of the simulation';
const publicUrl = 'https://lockstep.invalid';
const silent = createLogger({ app: 'simulation', level: 'silent', isPretty: false });
const registry = createMetrics({ app: 'simulation' });
const metrics = { ...createReaderMetrics(registry), ...createPlannerMetrics(registry) };

/** What a client knows by itself. */
const ownOfClient = ['time', 'clock'];

/** Credits are no concern here. */
const unlimited = { creditRules: { perDay: null, reserve: 0 }, credits: { ofDay: () => Promise.resolve({ credits: { look: 0, 'catch-up': 0, 'bulk-read': 0, retry: 0, other: 0 }, remaining: null }) } };

/** A CRM, a log, a database and the processes between them, in one process under virtual time. One seed has one course. */
export class World {
  readonly options: Required<WorldOptions>;
  readonly time: VirtualTime;
  readonly random: Random;
  readonly crm: VirtualCrm;
  readonly log = memoryLog({ partitions: PARTITIONS, keeps: (count) => this.#keptOf(count) });
  readonly clocks: HostClocks;
  readonly watermarks: ReturnType<typeof memoryWatermarks>;
  readonly tables: ReturnType<typeof memoryTables>;
  readonly runs: ReturnType<typeof memoryBulkRuns>;
  readonly catchUps: ReturnType<typeof memoryCatchUps>;
  readonly channels = memoryChannels();
  readonly incidents: ReturnType<typeof memoryIncidents>;
  readonly clockReports: ReturnType<typeof memoryClockReports>;
  readonly looksAside: ReturnType<typeof memoryLooksAside>;
  readonly fieldsMissing = memoryFieldsMissing();
  readonly met: Meetings;
  /** Draws of its own, so that what is reported moves nothing else. */
  readonly #reportRandom: Random;
  readonly group: VirtualGroup;
  readonly #processes = new Map<Role, VirtualProcess>();
  readonly counts = { deaths: 0, deadLetters: 0 };
  /** Probability that a process dies at any single effect. */
  crashes = 0;
  /** From one round of a process to its next, at most. */
  paceMs: number;
  troubles = noTroubles;
  /** Until when stores and log do not answer at all, by the world's time. */
  readonly #awayUntilMs = { store: 0, log: 0 };
  /** Called with each move of a partition's position. */
  onAdvanced: (partition: string, from: number, to: number) => void = () => undefined;
  /** Called when a process has died; by default it is started again after a while. */
  onDeath: (role: Role) => void = (role) => void this.time.after(1_000 + this.random.below(30_000), () => this.start(role));

  constructor(options: WorldOptions) {
    const given = { pageSize: 30, version: 'v8' as const, skewMs: 0, epsilonMs: EPSILON_MS, catchUpIntervalMs: 120_000, restoreScanEveryMs: 3_600_000, refreshEveryMs: 7 * 86_400_000, paceMs: 6_000, startMs: Date.parse('2026-05-04T08:00:00Z'), ...options };
    this.options = given;
    this.paceMs = given.paceMs;
    this.random = seededRandom(given.seed);
    this.#reportRandom = seededRandom(given.seed ^ 0x4e90);
    this.time = new VirtualTime(given.startMs, seededRandom(given.seed ^ 0x71e3));
    this.clocks = hostClocks(this.time);
    this.crm = new VirtualCrm({ ...given, time: this.time, clock: this.clocks.crm, random: seededRandom(given.seed ^ 0x0c12) });
    const now = (): Date => this.#databaseNow();
    const { refusals } = this.crm;
    this.watermarks = memoryWatermarks(now);
    this.clockReports = memoryClockReports(now);
    this.looksAside = memoryLooksAside(() => this.#databaseNow().getTime());
    this.runs = memoryBulkRuns(now);
    this.catchUps = memoryCatchUps(now);
    this.incidents = memoryIncidents(now);
    this.tables = memoryTables({ ...given, now: () => this.clocks.database.now(), rules: tableRules, watermarks: this.watermarks, retryAtMostMs: 60_000, refusal: (module, id) => refusals.row(module, id), onParked: (parked) => this.#noteParked(parked), onAdvanced: (...moved) => this.onAdvanced(...moved) });
    this.met = new Meetings(() => this.#phase());
    this.crm.onNotified = (notified) => void this.#receive(notified);
    this.crm.onFault = (fault) => this.met.note(fault);
    const partitions = given.modules.flatMap((module) => Array.from({ length: PARTITIONS }, (_, partition) => partitionName(module, partition)));
    this.group = new VirtualGroup({ partitions, now: () => this.time.now() });
  }

  isUp(role: Role): boolean {
    return this.#processes.get(role)?.isDead === false;
  }

  kill(role: Role): void {
    this.#processes.get(role)?.kill();
  }

  /** Stores or log do not answer for a while. */
  takeAway(part: 'store' | 'log', ms: number): void {
    this.met.note(`${part}-away`);
    this.#awayUntilMs[part] = this.time.now() + ms;
  }

  /** Hands a partition over to the other projector, whatever the former owner is in the middle of. */
  rebalance(): void {
    const module = this.options.modules[this.random.below(this.options.modules.length)] as ModuleDefinition;
    const member = projectors[this.random.below(projectors.length)] as ProjectorRole;
    if (this.isUp(member)) this.group.assign(partitionName(module, this.random.below(PARTITIONS)), member, this.random.below(60_000));
  }

  /** Starts a process that does not run. */
  start(role: Role): void {
    if (this.isUp(role)) return;
    const onEnd = (): void => {
      this.counts.deaths += 1;
      this.met.note('process-died');
      this.group.leave(role, projectors.find((one) => one !== role && this.isUp(one)) ?? null);
      this.onDeath(role);
    };
    const process = new VirtualProcess({ random: this.random, crashes: () => this.crashes, trouble: (part) => this.#troubleOf(part), onEnd });
    this.#processes.set(role, process);
    switch (role) {
      case 'receiver':
        return;
      case 'reader':
        return this.#read(process);
      case 'planner':
        return this.#plan(process);
      case 'projector':
      case 'second-projector':
        return this.#project(process, role);
    }
  }

  startAll(): void {
    for (const role of roles) this.start(role);
  }

  /** Begins to read a whole module again. @returns false when it cannot be now. */
  refresh(module: ModuleDefinition): Promise<boolean> {
    const deps = { runs: this.runs, crm: this.crm.connect(this.clocks.scheduler, this.clocks.database).client, log: silent, ...unlimited };
    return startRefresh(deps, module.apiName, { isAnyway: false }).then(({ status }) => status === 'started');
  }

  async #receive(notified: { readonly module: string; readonly ids: readonly string[]; readonly operation: 'insert' | 'update' | 'delete' }): Promise<void> {
    const receiver = this.#processes.get('receiver');
    if (receiver === undefined || receiver.isDead) return;
    const hints = hintsOf({ ...notified, channelId: '1', token: '', serverTimeMs: this.clocks.crm.now() }, this.clocks.ingress.now());
    const messages = hints.map((hint) => ({ key: hint.id, value: encodeHint(hint) }));
    // The receiver answers 500 then, and the CRM does not repeat what it sent.
    await receiver.guard(this.log.producer, 'log').send(topics.notifications, messages).catch(() => undefined);
  }

  #read(process: VirtualProcess): void {
    const { modules, epsilonMs } = this.options;
    const { client, results } = this.crm.connect(this.clocks.ingress, this.clocks.database);
    const deadLetters = { put: async (letters: readonly unknown[]) => void (this.counts.deadLetters += letters.length) };
    const crm = spread(process.guard(client, 'crm', ownOfClient));
    const store = process.guard(this.fieldsMissing, 'store');
    const missing = new MissingFields({ crm, store, catchUps: process.guard(this.catchUps, 'store'), runs: process.guard(this.runs, 'store'), metrics, log: silent, time: this.clocks.ingress });
    const deps = {
      modules,
      epsilonMs,
      deadLetters,
      metrics,
      log: silent,
      time: this.clocks.ingress,
      signal: process.signal,
      lookIntervalMs: 100,
      crm: { ...crm, ...missing.readings },
      missing,
      results: process.guard(results),
      producer: process.guard(this.log.producer, 'log'),
      register: process.guard(this.tables.register, 'store'),
      breaker: process.guard(this.tables.breaker, 'store'),
      looks: process.guard(this.tables.looks, 'store'),
      aside: process.guard(this.looksAside, 'store'),
      referrers: process.guard(this.tables.referrers, 'store'),
      runs: process.guard(this.runs, 'store'),
      catchUps: process.guard(this.catchUps, 'store'),
      waits: new PageWaits(this.clocks.ingress),
    };
    const answerer = new HintAnswerer(deps);
    const positions = Array.from({ length: PARTITIONS }, (_, partition) => this.log.committed('reader', topics.notifications, partition));
    const takeHints = async (): Promise<void> => {
      for (const [partition, from] of positions.entries()) {
        const messages = this.log.read(topics.notifications, partition, from, 50);
        if (messages.length > 0) await answerer.take({ partition, from, messages, following: from + messages.length });
        positions[partition] = from + messages.length;
      }
      this.log.commit('reader', answerer.committable);
    };
    const read = async (): Promise<void> => {
      await this.#declare(process);
      await missing.recall();
      void process.repeat(() => Math.max(5_000, this.paceMs / 2), (ms) => this.time.sleep(ms), () => missing.checkDue());
      this.#repeat(process, 0.25, takeHints);
      this.#repeat(process, 2, () => answerer.askAgain());
      this.#repeat(process, 1, () => ingestReadyPages(deps, process.signal));
      this.#repeat(process, 1, () => readCatchUps(deps));
      const reports = process.guard(this.clockReports, 'store');
      this.#repeat(process, 1, () => reports.note('reader', { ...client.clock(), now: new Date(client.time().earliestMs) }));
    };
    // What fails at the start ends the process, and it is started again.
    read().catch(() => process.kill());
  }

  async #declare(process: VirtualProcess): Promise<void> {
    const producer = process.guard(this.log.producer, 'log');
    for (const module of this.options.modules) await producer.send(topicOf(module), coverageMessages(module, PARTITIONS, this.clocks.ingress.now()));
  }

  #plan(process: VirtualProcess): void {
    const { modules, refreshEveryMs, catchUpIntervalMs, restoreScanEveryMs } = this.options;
    const jobs = {
      secret,
      publicUrl,
      metrics,
      modules,
      log: silent,
      refreshEveryMs,
      catchUpRules: { ...defaultCatchUpRules, intervalMs: catchUpIntervalMs, restoreScanEveryMs },
      now: () => this.#databaseNow(),
      time: this.clocks.scheduler,
      clocks: process.guard(this.clockReports, 'store'),
      crm: process.guard(this.crm.connect(this.clocks.scheduler).client, 'crm', ownOfClient),
      admin: process.guard(this.log.admin, 'log'),
      producer: process.guard(this.log.producer, 'log'),
      signals: { send: () => Promise.resolve() },
      runs: process.guard(this.runs, 'store'),
      fields: process.guard(this.fieldsMissing, 'store'),
      channels: process.guard(this.channels, 'store'),
      catchUps: process.guard(this.catchUps, 'store'),
      watermarks: process.guard(this.tables.watermarks, 'store'),
      audits: process.guard(this.tables.audits, 'store'),
      looks: process.guard(this.tables.looks, 'store'),
      breaker: process.guard(this.tables.breaker, 'store'),
      incidents: process.guard(this.incidents, 'store'),
      ...unlimited,
    };
    const planner = new Planner(jobs);
    for (const module of modules) this.#repeat(process, 2, () => planner.round(module, { pollAll: this.random.next() < 0.3 }));
    this.#repeat(process, 2, () => hintWantedLooks(jobs));
    const reporter = new Reporter(jobs);
    const { leftOut } = process.guard(memoryLeftOut({ projection: this.tables.projection, aside: this.looksAside, fields: this.fieldsMissing }), 'store');
    void process.repeat(() => Math.max(5_000, this.paceMs / 2) + this.#reportRandom.below(1_000), (ms) => this.time.sleep(ms), async () => {
      for (const module of modules) await reportLeftOut({ leftOut, reporter }, module);
    });
  }

  #project(process: VirtualProcess, name: ProjectorRole): void {
    const { random, log, group, options: { modules } } = this;
    const projector = new VirtualProjector({ name, process, group, projection: this.tables.projection, log, random, sleep: (ms) => this.time.sleep(ms), met: (fault) => this.met.note(fault) });
    group.join(name, random);
    this.#repeat(process, 0.5, async () => {
      for (const module of modules) for (let partition = 0; partition < PARTITIONS; partition += 1) await projector.project(module, partition);
    });
    this.#repeat(process, 1, async () => {
      for (const module of modules) await projector.retry(module);
    });
  }

  #databaseNow(): Date {
    return new Date(this.clocks.database.now());
  }

  /** @param pace the longest pause, in parts of the world's pace. */
  #repeat(process: VirtualProcess, pace: number, body: () => Promise<unknown>): void {
    void process.repeat(() => 1 + this.random.below(this.paceMs * pace), (ms) => this.time.sleep(ms), body);
  }

  #troubleOf(part: Part): Trouble {
    if (part === 'crm') return 'none';
    if (this.time.now() < this.#awayUntilMs[part]) return 'before';
    if (this.troubles[part] === 0 || this.random.next() >= this.troubles[part]) return 'none';
    const isDone = this.random.below(2) === 0;
    this.met.note(isDone ? `${part}-answer-lost` : `${part}-failed`);
    return isDone ? 'after' : 'before';
  }

  #keptOf(count: number): number {
    if (count < 2 || this.troubles.half === 0 || this.random.next() >= this.troubles.half) return count;
    this.met.note('send-halved');
    return this.random.below(count);
  }

  #noteParked({ code, register }: ParkedMessage): void {
    if (register.live === undefined) this.met.note('removal-refused');
    else this.met.note(code === '22001' ? 'value-never-fits' : 'row-conflicts');
  }

  #phase(): Phase {
    const runs = this.runs.rows();
    if (!this.options.modules.every(({ apiName }) => runs.some(({ module, kind, state }) => module === apiName && kind === 'initial' && state === 'complete'))) return 'loading';
    if (runs.some(({ state }) => state === 'running')) return 'bulk';
    return this.catchUps.rows().some(({ state }) => state === 'wanted' || state === 'read' || state === 'too-large') ? 'catch-up' : 'quiet';
  }
}

/** A guarded client as a plain object, so that some of its calls can be replaced. */
const spread = <T extends object>(guarded: T): T => Object.fromEntries(Object.keys(guarded).map((name) => [name, guarded[name as keyof T]])) as T;
