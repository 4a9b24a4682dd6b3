import { aboveReserve, type BulkPlan, bulkPlan, catchUpIntervalMs, type CatchUpRules, type Credits, creditsLeft, isAffordable, isLow } from '@lockstep/completeness';
import type { ModuleDefinition } from '@lockstep/modules';
import type { CreditsOfDay, CreditUse } from '@lockstep/postgres';
import { realTime, type Time } from '@lockstep/telemetry';

import type { Reporter } from './reporter.ts';

/** What the organisation has, and what of it is left to others. */
export type CreditRules = Pick<Credits, 'perDay' | 'reserve'>;

export type CreditDeps = {
  readonly credits: Pick<CreditUse, 'ofDay'>;
  readonly creditRules: CreditRules;
};

/** A read in bulk before it begins, measured by the day's credits. */
export type ReadPlan = BulkPlan & {
  /** Share of the day's credits; null where they are not known. */
  readonly shareOfDay: number | null;
  /** Whether it leaves the reserve alone. */
  readonly isAffordable: boolean;
};

const readCredits = async ({ credits, creditRules }: CreditDeps): Promise<Credits> => creditsOfDay(creditRules, await credits.ofDay());

/** The credits of the last 24 hours, as all processes of the installation count them. */
export function creditsOfDay(rules: CreditRules, { credits, remaining }: CreditsOfDay): Credits {
  return { ...rules, remaining, spentOnCatchUps: credits['catch-up'], spent: Object.values(credits).reduce((sum, one) => sum + one, 0) };
}

/** What reading so many rows in bulk would take, and whether there are credits for it. */
export async function planRead(deps: CreditDeps, rows: number): Promise<ReadPlan> {
  const credits = await readCredits(deps);
  const plan = bulkPlan(rows);
  return { ...plan, shareOfDay: credits.perDay === null ? null : plan.credits / credits.perDay, isAffordable: isAffordable(credits, plan) };
}

const READ_EVERY_MS = 10_000;

/** Makes catch-ups rarer where credits are scarce, and opens an incident when the reserve is touched. */
export class CreditWatch {
  /** The rules of catch-ups; their interval follows the credits. */
  readonly rules: CatchUpRules;
  readonly #deps: CreditDeps;
  readonly #time: Pick<Time, 'elapsed'>;
  readonly #reporter: Reporter;
  readonly #modules = new Set<string>();
  #readAt = Number.NEGATIVE_INFINITY;
  #credits: Credits;

  constructor(deps: CreditDeps & { readonly catchUpRules: CatchUpRules; readonly time?: Pick<Time, 'elapsed'> }, reporter: Reporter) {
    const { catchUpRules } = deps;
    const intervalMs = (): number => catchUpIntervalMs(this.#credits, { intervalMs: catchUpRules.intervalMs, modules: this.#modules.size });
    this.#deps = deps;
    this.#time = deps.time ?? realTime;
    this.#reporter = reporter;
    this.#credits = { ...deps.creditRules, spent: 0, spentOnCatchUps: 0, remaining: null };
    this.rules = {
      ...catchUpRules,
      get intervalMs() {
        return intervalMs();
      },
    };
  }

  /** Called in each round of a module; reads every ten seconds. */
  async update({ apiName }: ModuleDefinition): Promise<void> {
    this.#modules.add(apiName);
    const elapsedMs = this.#time.elapsed();
    if (this.#deps.creditRules.perDay === null || elapsedMs < this.#readAt + READ_EVERY_MS) return;
    this.#credits = await readCredits(this.#deps);
    this.#readAt = elapsedMs;
    await this.#report(this.#credits);
  }

  async #report(credits: Credits): Promise<void> {
    if (!isLow(credits)) return await this.#reporter.close('', 'credits-low');
    await this.#reporter.open('', 'credits-low', `${creditsLeft(credits)} of the day's ${credits.perDay} credits are left, ${-aboveReserve(credits)} less than the reserve; catch-ups are ${this.rules.intervalMs / 60_000} minutes apart`);
  }
}
