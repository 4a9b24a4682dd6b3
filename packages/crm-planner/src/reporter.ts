import type { IncidentKind, Incidents } from '@lockstep/postgres';
import { type Logger, realTime, type Time } from '@lockstep/telemetry';

import type { PlannerMetrics } from './metrics.ts';

export type ReporterDeps = {
  readonly incidents: Pick<Incidents, 'open' | 'close'>;
  readonly time?: Pick<Time, 'elapsed'>;
  readonly log: Logger;
  readonly metrics: Pick<PlannerMetrics, 'incidents'>;
};

/** An incident that lasts is brought up to date this often, however often it is found. */
const REPEAT_AFTER_MS = 60_000;

/** What stops changes from arriving; the others only slow them down. */
const wakesSomebody: readonly IncidentKind[] = ['catch-up-late', 'deletions-held'];

/** Reports what is wrong, once each: rounds that find the same again write nothing. */
export class Reporter {
  readonly #deps: ReporterDeps;
  readonly #said = new Map<string, { readonly isOpen: boolean; readonly atMs: number }>();

  constructor(deps: ReporterDeps) {
    this.#deps = deps;
  }

  async open(module: string, kind: IncidentKind, details: string): Promise<void> {
    const { incidents, log, metrics, time = realTime } = this.#deps;
    const said = this.#said.get(`${module} ${kind}`);
    const atMs = time.elapsed();
    if (said?.isOpen === true && atMs < said.atMs + REPEAT_AFTER_MS) return;
    const isNew = await incidents.open(module, kind, details);
    this.#said.set(`${module} ${kind}`, { isOpen: true, atMs });
    if (!isNew) return;
    metrics.incidents.inc({ module, kind });
    log[wakesSomebody.includes(kind) ? 'error' : 'warn']({ module, kind, details }, 'incident opened');
  }

  async close(module: string, kind: IncidentKind): Promise<void> {
    const { incidents, log, time = realTime } = this.#deps;
    if (this.#said.get(`${module} ${kind}`)?.isOpen === false) return;
    const wasOpen = await incidents.close(module, kind);
    this.#said.set(`${module} ${kind}`, { isOpen: false, atMs: time.elapsed() });
    if (wasOpen) log.info({ module, kind }, 'incident closed');
  }
}
