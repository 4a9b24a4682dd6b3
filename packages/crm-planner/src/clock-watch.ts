import { type CrmClient, CrmError, TOLERANCE_MS } from '@lockstep/crm-client';
import type { ClockReportRow, ClockReports } from '@lockstep/postgres';
import { realTime, type Time } from '@lockstep/telemetry';

import type { PlannerMetrics } from './metrics.ts';
import type { Reporter } from './reporter.ts';

export type ClockWatchDeps = {
  readonly clocks: ClockReports;
  readonly crm: Pick<CrmClient, 'clock' | 'time' | 'listChannels'>;
  readonly metrics: Pick<PlannerMetrics, 'clockAhead'>;
  readonly time?: Pick<Time, 'elapsed'>;
};

const LOOK_EVERY_MS = 5_000;
/** An incident stays open for as long after the last contradiction: one reply of many is one incident. */
const QUIET_MS = 60_000;
/** A leader calls the CRM a few times an hour; while its clocks are in doubt it makes the cheapest call to read the time, ten times and then seldom. */
const PROBE_EVERY_MS = 15_000;
const PROBES = 10;
const PROBE_SELDOM_MS = 600_000;

/** Reports which source of time contradicts the others, by what every process that calls the CRM says of it. */
export class ClockWatch {
  readonly #deps: ClockWatchDeps;
  readonly #time: Pick<Time, 'elapsed'>;
  readonly #reporter: Reporter;
  readonly #refused = new Map<string, number>();
  #lookedAt = Number.NEGATIVE_INFINITY;
  #foundAt = Number.NEGATIVE_INFINITY;
  #probedAt = Number.NEGATIVE_INFINITY;
  #probes = 0;

  constructor(deps: ClockWatchDeps, reporter: Reporter) {
    this.#deps = deps;
    this.#time = deps.time ?? realTime;
    this.#reporter = reporter;
  }

  /** Called in each round; looks every five seconds. */
  async watch(): Promise<void> {
    const { clocks, crm } = this.#deps;
    const elapsedMs = this.#time.elapsed();
    if (elapsedMs < this.#lookedAt + LOOK_EVERY_MS) return;
    this.#lookedAt = elapsedMs;
    await clocks.note('leader', { ...crm.clock(), now: new Date(crm.time().earliestMs) });
    const rows = (await clocks.all()).filter(({ agoMs }) => Math.abs(agoMs) < QUIET_MS);
    for (const row of rows) this.#measure(row);
    await this.#probeWhileInDoubt(rows);
    const problems = rows.flatMap((row) => this.#problemsOf(row));
    if (problems.length > 0) {
      this.#foundAt = elapsedMs;
      await this.#reporter.open('', 'clock-differs', problems.join('; '));
    } else if (elapsedMs >= this.#foundAt + QUIET_MS) await this.#reporter.close('', 'clock-differs');
  }

  /** In doubt: no two sources agree, or another process believes another time. Every reply carries the time, a refusal too. */
  async #probeWhileInDoubt(rows: readonly ClockReportRow[]): Promise<void> {
    const ahead = rows.map(({ databaseAheadMs }) => databaseAheadMs);
    const isDoubtful = !this.#deps.crm.time().isFirm || Math.max(...ahead) - Math.min(...ahead) > TOLERANCE_MS;
    if (!isDoubtful) this.#probes = 0;
    const elapsedMs = this.#time.elapsed();
    if (!isDoubtful || elapsedMs < this.#probedAt + (this.#probes < PROBES ? PROBE_EVERY_MS : PROBE_SELDOM_MS)) return;
    this.#probedAt = elapsedMs;
    this.#probes += 1;
    await this.#deps.crm.listChannels().catch((error: unknown) => {
      if (!(error instanceof CrmError)) throw error;
    });
  }

  #measure({ role, dateAheadMs, wallAheadMs, databaseAheadMs }: ClockReportRow): void {
    const { clockAhead } = this.#deps.metrics;
    if (dateAheadMs !== null) clockAhead.set({ role, source: 'date' }, dateAheadMs / 1000);
    clockAhead.set({ role, source: 'wall' }, wallAheadMs / 1000);
    clockAhead.set({ role, source: 'database' }, databaseAheadMs / 1000);
  }

  #problemsOf({ role, differs, dateAheadMs, wallAheadMs, databaseAheadMs, refused }: ClockReportRow): string[] {
    const before = this.#refused.get(role) ?? refused;
    this.#refused.set(role, refused);
    return [
      ...(differs === 'date' || refused > before ? [`the Date of the CRM's replies to the ${role} is ${seconds(dateAheadMs ?? 0)} ahead, and ${Math.max(0, refused - before)} more were refused`] : []),
      ...(differs === 'wall' ? [`the clock of the ${role}'s host is ${seconds(wallAheadMs)} ahead`] : []),
      ...(differs === 'monotonic' ? [`the monotonic clock of the ${role}'s host stood still, or the host and the CRM were both set`] : []),
      ...(Math.abs(databaseAheadMs) > 2 * TOLERANCE_MS ? [`the database's clock is ${seconds(databaseAheadMs)} ahead of the ${role}'s CRM time`] : []),
    ];
  }
}

const seconds = (ms: number): string => `${Math.round(ms / 1000)} s`;
