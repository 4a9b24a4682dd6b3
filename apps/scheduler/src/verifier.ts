import { setTimeout as sleep } from 'node:timers/promises';

import type { Reporter } from '@lockstep/crm-planner';
import type { ModuleDefinition } from '@lockstep/modules';
import { bulkRuns, databaseNow, type Incident, readEpsilon, verifications } from '@lockstep/postgres';
import { ModuleProjection } from '@lockstep/projection';
import { noteVerification, type Verification, verifyModule } from '@lockstep/rebuild';

import type { LeaderDeps } from './leader.ts';
import { restingFor } from './resting.ts';
import { isVerificationDue } from './verification-due.ts';

export type VerifierDeps = Pick<LeaderDeps, 'db' | 'kafka' | 'admin' | 'log' | 'verifyEveryMs'> & { readonly reporter: Pick<Reporter, 'open' | 'close'>; readonly signal: AbortSignal };

/** How many differences are named in an incident. */
const NAMED = 5;

/** Compares register and table of each module with its log from time to time, slowly, and reports what differs. Nothing of it is written back. */
export class Verifier {
  readonly #deps: VerifierDeps;
  readonly #failedAt = new Map<string, Date>();

  constructor(deps: VerifierDeps) {
    this.#deps = deps;
  }

  /** Verifies a module when that is due. */
  async verify(module: ModuleDefinition): Promise<void> {
    const { db, verifyEveryMs: everyMs, reporter } = this.#deps;
    const { apiName } = module;
    const [runs, last, now] = await Promise.all([bulkRuns(db).all(), verifications(db).last(apiName), databaseNow(db)]);
    // A rebuild notes its proof as well.
    if (last?.differences === 0) await reporter.close(apiName, 'table-differs');
    const ofModule = runs.filter((run) => run.module === apiName);
    if (isVerificationDue({ runs: ofModule, last, failedAt: this.#failedAt.get(apiName) ?? null, now, everyMs })) await this.#verifyNow(module, now);
  }

  async #verifyNow(module: ModuleDefinition, now: Date): Promise<void> {
    const { log, reporter, signal } = this.#deps;
    const { apiName } = module;
    try {
      const verification = await this.#compare(module);
      this.#failedAt.delete(apiName);
      await reporter.close(apiName, 'verification-failed');
      await this.#report(verification);
    } catch (error) {
      if (signal.aborted) return;
      this.#failedAt.set(apiName, now);
      log.warn({ err: error, module: apiName }, 'register and table could not be compared with the log');
      await reporter.open(apiName, 'verification-failed', error instanceof Error ? error.message : String(error));
    }
  }

  async #compare(module: ModuleDefinition): Promise<Verification> {
    const { db, kafka, admin, signal } = this.#deps;
    const projection = new ModuleProjection(module, await readEpsilon(db));
    const breathe = restingFor((ms) => sleep(ms, undefined, { signal }));
    const verification = await verifyModule({ pool: db.pool, kafka, admin }, projection, { atMost: 100, breathe, signal });
    await noteVerification(db.pool, verification);
    return verification;
  }

  async #report({ module, records, messages, counts, found }: Verification): Promise<void> {
    const { log, reporter } = this.#deps;
    const kinds = Object.entries(counts);
    if (kinds.length === 0) {
      log.info({ module, records, messages }, 'register and table are what the log says');
      return await reporter.close(module, 'table-differs');
    }
    const all = kinds.reduce((sum, [, count]) => sum + count, 0);
    const named = found.slice(0, NAMED).map(({ kind, id }) => `${kind}: ${id}`);
    const details: Incident['details'] = `${kinds.map(([kind, count]) => `${kind}: ${count}`).join(', ')} (${named.join('; ')}${all > named.length ? '; …' : ''}). "lockstep verify ${module}" names each value, "lockstep rebuild ${module}" writes what the log says`;
    await reporter.open(module, 'table-differs', details);
  }
}
