import { CrmError } from '@lockstep/crm-client';
import type { ModuleDefinition } from '@lockstep/modules';
import { realTime, type Time } from '@lockstep/telemetry';

/** What failed of a step, how often in a row, and when it is tried again by the monotonic clock. */
type Failing = { readonly error: unknown; readonly failures: number; readonly retryAt: number };

const FIRST_WAIT_MS = 1_000;
/** A call of the CRM costs credits; a store or log that is away is asked again soon. */
const MAX_WAIT_MS = { crm: 60_000, own: 5_000 };

/** Runs the steps of a module's rounds, each by itself: one that fails is tried again after a pause of its own, and the others go on. */
export class Steps {
  readonly #failing = new Map<string, Map<string, Failing>>();
  readonly #time: Pick<Time, 'elapsed'>;

  constructor({ time = realTime }: { readonly time?: Pick<Time, 'elapsed'> }) {
    this.#time = time;
  }

  /** @returns what the step came to; undefined where it failed, or waits after a failure. */
  async run<T>({ apiName }: ModuleDefinition, step: string, work: () => Promise<T>): Promise<T | undefined> {
    const ofModule = this.#failing.get(apiName) ?? new Map<string, Failing>();
    this.#failing.set(apiName, ofModule);
    const failing = ofModule.get(step);
    if (failing !== undefined && this.#time.elapsed() < failing.retryAt) return undefined;
    try {
      const result = await work();
      ofModule.delete(step);
      return result;
    } catch (error) {
      const failures = (failing?.failures ?? 0) + 1;
      const waitMs = Math.min(FIRST_WAIT_MS * 2 ** (failures - 1), error instanceof CrmError ? MAX_WAIT_MS.crm : MAX_WAIT_MS.own);
      ofModule.set(step, { error, failures, retryAt: this.#time.elapsed() + waitMs });
      return undefined;
    }
  }

  /** The error of a step that keeps failing; null where it does not. */
  failureOf({ apiName }: ModuleDefinition, step: string): unknown {
    return this.#failing.get(apiName)?.get(step)?.error ?? null;
  }

  /** @throws what failed of the module, as long as it does: the error itself, or all of them as one. */
  throwFailures({ apiName }: ModuleDefinition): void {
    const errors = [...(this.#failing.get(apiName)?.values() ?? [])].map(({ error }) => error);
    if (errors.length === 1) throw errors[0];
    if (errors.length > 1) throw new AggregateError(errors, errors.map((error) => messageOf(error)).join('; '));
  }
}

/** An error in its source's words. */
export const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));
