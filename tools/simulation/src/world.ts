import { coverageMessages, createReaderMetrics, HintAnswerer, ingestReadyPages, readCatchUps } from '@lockstep/crm-reader';
import { createPlannerMetrics, hintWantedLooks, Planner, startRefresh } from '@lockstep/crm-planner';
import { type Random, seededRandom } from '@lockstep/crm-simulator';
import { defaultCatchUpRules } from '@lockstep/completeness';
import type { ApiVersion } from '@lockstep/crm-client';
import { type ModuleDefinition, topicOf, topics } from '@lockstep/modules';
import { encodeHint, hintsOf } from '@lockstep/notifications';
import { createLogger, createMetrics } from '@lockstep/telemetry';

import { memoryBulkRuns, memoryCatchUps, memoryChannels, memoryWatermarks } from './memory/memory-jobs.ts';
import { type HostClocks, hostClocks } from './host-clocks.ts';
import { memoryClockReports } from './memory/memory-clock-reports.ts';
import { memoryIncidents } from './memory/memory-incidents.ts';
import { memoryLog } from './memory/memory-log.ts';
import { memoryTables } from './memory/memory-register.ts';
import { VirtualCrm } from './virtual-crm.ts';
import { VirtualProcess } from './virtual-process.ts';
import { VirtualTime } from './virtual-time.ts';

/** The processes of a world. Each is started anew after it dies. */
export const roles = ['receiver', 'reader', 'planner', 'projector'] as const;
export type Role = (typeof roles)[number];

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
const unlimited = { creditRules: { perDay: null, reserve: 0 }, credits: { ofDay: () => Promise.resolve({ credits: { look: 0, 'catch-up': 0, 'bulk-read': 0, other: 0 }, remaining: null }) } };

/** A CRM, a log, a database and the processes between them, in one process under virtual time. One seed has one course. */
export class World {
  readonly options: Required<WorldOptions>;
  readonly time: VirtualTime;
  readonly random: Random;
  readonly crm: VirtualCrm;
  readonly log = memoryLog({ partitions: PARTITIONS });
  readonly clocks: HostClocks;
  readonly watermarks: ReturnType<typeof memoryWatermarks>;
  readonly tables: ReturnType<typeof memoryTables>;
  readonly runs: ReturnType<typeof memoryBulkRuns>;
  readonly catchUps: ReturnType<typeof memoryCatchUps>;
  readonly channels = memoryChannels();
  readonly incidents: ReturnType<typeof memoryIncidents>;
  readonly clockReports: ReturnType<typeof memoryClockReports>;
  readonly #processes = new Map<Role, VirtualProcess>();
  readonly counts = { deaths: 0, deadLetters: 0 };
  /** Probability that a process dies at any single effect. */
  crashes = 0;
  /** Called when a process has died; by default it is started again after a while. */
  onDeath: (role: Role) => void = (role) => void this.time.after(1_000 + this.random.below(30_000), () => this.start(role));

  constructor(options: WorldOptions) {
    const given = { pageSize: 30, version: 'v8' as const, skewMs: 0, epsilonMs: EPSILON_MS, catchUpIntervalMs: 120_000, restoreScanEveryMs: 3_600_000, refreshEveryMs: 7 * 86_400_000, paceMs: 6_000, startMs: Date.parse('2026-05-04T08:00:00Z'), ...options };
    this.options = given;
    this.random = seededRandom(given.seed);
    this.time = new VirtualTime(given.startMs, seededRandom(given.seed ^ 0x71e3));
    this.clocks = hostClocks(this.time);
    this.crm = new VirtualCrm({ ...given, time: this.time, clock: this.clocks.crm, random: seededRandom(given.seed ^ 0x0c12) });
    const now = (): Date => this.#databaseNow();
    this.watermarks = memoryWatermarks(now);
    this.clockReports = memoryClockReports(now);
    this.runs = memoryBulkRuns(now);
    this.catchUps = memoryCatchUps(now);
    this.incidents = memoryIncidents(now);
    this.tables = memoryTables({ now: () => this.clocks.database.now(), epsilonMs: given.epsilonMs, watermarks: this.watermarks });
    this.crm.onTold = (told) => void this.#receive(told);
  }

  isUp(role: Role): boolean {
    return this.#processes.get(role)?.isDead === false;
  }

  kill(role: Role): void {
    this.#processes.get(role)?.kill();
  }

  /** Starts a process that does not run. */
  start(role: Role): void {
    if (this.isUp(role)) return;
    const onEnd = (): void => {
      this.counts.deaths += 1;
      this.onDeath(role);
    };
    const process = new VirtualProcess({ random: this.random, crashes: () => this.crashes, onEnd });
    this.#processes.set(role, process);
    switch (role) {
      case 'receiver':
        return;
      case 'reader':
        return this.#read(process);
      case 'planner':
        return this.#plan(process);
      case 'projector':
        return this.#project(process);
    }
  }

  startAll(): void {
    for (const role of roles) this.start(role);
  }

  /** Begins to read a whole module again. @returns false when it cannot be now. */
  refresh(module: ModuleDefinition): Promise<boolean> {
    const deps = { runs: this.runs, crm: this.crm.connect(this.clocks.scheduler).client, log: silent, ...unlimited };
    return startRefresh(deps, module.apiName, { isAnyway: false }).then(({ status }) => status === 'started');
  }

  async #receive(told: { readonly module: string; readonly ids: readonly string[]; readonly operation: 'insert' | 'update' | 'delete' }): Promise<void> {
    if (!this.isUp('receiver')) return;
    const hints = hintsOf({ ...told, channelId: '1', token: '', serverTimeMs: this.clocks.crm.now() }, this.clocks.ingress.now());
    await this.log.producer.send(topics.notifications, hints.map((hint) => ({ key: hint.id, value: encodeHint(hint) })));
  }

  #read(process: VirtualProcess): void {
    const { modules, epsilonMs } = this.options;
    const { client, results } = this.crm.connect(this.clocks.ingress);
    const deadLetters = { put: async (letters: readonly unknown[]) => void (this.counts.deadLetters += letters.length) };
    const deps = {
      modules,
      epsilonMs,
      deadLetters,
      metrics,
      log: silent,
      time: this.clocks.ingress,
      signal: process.signal,
      lookIntervalMs: 100,
      crm: process.guard(client, ownOfClient),
      results: process.guard(results),
      producer: process.guard(this.log.producer),
      register: process.guard(this.tables.register),
      breaker: process.guard(this.tables.breaker),
      looks: process.guard(this.tables.looks),
      // The simulated modules have no lookups.
      referrers: { to: async () => [] },
      runs: process.guard(this.runs),
      catchUps: process.guard(this.catchUps),
    };
    const answerer = new HintAnswerer(deps);
    const positions = Array.from({ length: PARTITIONS }, (_, partition) => this.log.committed('reader', topics.notifications, partition));
    const takeHints = async (): Promise<void> => {
      for (const [partition, from] of positions.entries()) {
        const messages = this.log.read(topics.notifications, partition, from, 50);
        if (messages.length > 0) await answerer.take({ partition, messages });
        positions[partition] = from + messages.length;
      }
      this.log.commit('reader', answerer.committable);
    };
    const read = async (): Promise<void> => {
      await this.#declare(process);
      this.#repeat(process, this.options.paceMs / 4, takeHints);
      this.#repeat(process, this.options.paceMs, () => ingestReadyPages(deps, process.signal));
      this.#repeat(process, this.options.paceMs, () => readCatchUps(deps));
      const reports = process.guard(this.clockReports);
      this.#repeat(process, this.options.paceMs, () => reports.note('reader', { ...client.clock(), now: new Date(client.time().earliestMs) }));
    };
    void read(); // It ends with the process, and nobody waits for it.
  }

  async #declare(process: VirtualProcess): Promise<void> {
    const producer = process.guard(this.log.producer);
    for (const module of this.options.modules) await producer.send(topicOf(module), coverageMessages(module, PARTITIONS, this.clocks.ingress.now()));
  }

  #plan(process: VirtualProcess): void {
    const { modules, refreshEveryMs, catchUpIntervalMs, restoreScanEveryMs } = this.options;
    const jobs = {
      secret,
      publicUrl,
      metrics,
      log: silent,
      refreshEveryMs,
      catchUpRules: { ...defaultCatchUpRules, intervalMs: catchUpIntervalMs, restoreScanEveryMs },
      now: () => this.#databaseNow(),
      time: this.clocks.scheduler,
      clocks: process.guard(this.clockReports),
      crm: process.guard(this.crm.connect(this.clocks.scheduler).client, ownOfClient),
      admin: process.guard(this.log.admin),
      producer: process.guard(this.log.producer),
      signals: { send: () => Promise.resolve() },
      runs: process.guard(this.runs),
      channels: process.guard(this.channels),
      catchUps: process.guard(this.catchUps),
      watermarks: process.guard(this.tables.watermarks),
      audits: process.guard(this.tables.audits),
      looks: process.guard(this.tables.looks),
      breaker: process.guard(this.tables.breaker),
      incidents: process.guard(this.incidents),
      ...unlimited,
    };
    const planner = new Planner(jobs);
    for (const module of modules) this.#repeat(process, this.options.paceMs, () => planner.round(module, { isPoked: this.random.next() < 0.3 }));
    this.#repeat(process, this.options.paceMs, () => hintWantedLooks(jobs));
  }

  #project(process: VirtualProcess): void {
    for (const module of this.options.modules) {
      for (let partition = 0; partition < PARTITIONS; partition += 1) {
        this.#repeat(process, this.options.paceMs / 2, async () => {
          const from = this.tables.next(module, partition);
          // A batch ends anywhere.
          this.tables.project(module, partition, this.log.read(topicOf(module), partition, from, 1 + this.random.below(40)));
        });
      }
    }
  }

  #databaseNow(): Date {
    return new Date(this.clocks.database.now());
  }

  #repeat(process: VirtualProcess, maxMs: number, body: () => Promise<unknown>): void {
    void process.repeat(() => 1 + this.random.below(maxMs), (ms) => this.time.sleep(ms), body);
  }
}
