import { aboveReserve, affordableRules, type BulkPlan, bulkPlan, catchUpCreditsPerMs, type CatchUpRules, type ChangeRate, type Credits, creditsLeft, type FilledBucket, isAffordable, isCoarser, isLow, lookEveryMs } from '@lockstep/completeness';
import type { CreditBudget } from '@lockstep/crm-client';
import type { ModuleDefinition } from '@lockstep/modules';
import type { CatchUpRow, CatchUps, CreditsOfDay, CreditUse } from '@lockstep/postgres';
import { realTime, type Time } from '@lockstep/telemetry';

import type { Reporter } from './reporter.ts';

/** What the organisation has, and what of it is left to others. */
export type CreditRules = Pick<Credits, 'perDay' | 'reserve'>;

export type CreditDeps = {
  readonly credits: Pick<CreditUse, 'ofDay'>;
  readonly creditRules: CreditRules;
  /** The budget of all calls; without it nothing is held back. */
  readonly budget?: PlanBudget;
};

/** The budget as the planner sees it. */
export type PlanBudget = Pick<CreditBudget, 'state' | 'canPay'>;

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
  return { ...rules, remaining, spent: Object.values(credits).reduce((sum, one) => sum + one, 0) };
}

/** What reading so many rows in bulk would take, and whether there are credits for it. */
export async function planRead(deps: CreditDeps, rows: number): Promise<ReadPlan> {
  const credits = await readCredits(deps);
  const plan = bulkPlan(rows);
  return { ...plan, shareOfDay: credits.perDay === null ? null : plan.credits / credits.perDay, isAffordable: isAffordable(credits, plan) };
}

/**
 * The rules of catch-ups that the budget can pay for.
 * @param bucket null without a budget.
 * @param rates how fast each module changes.
 */
export const paidRules = (wanted: CatchUpRules, bucket: FilledBucket | null, rates: readonly ChangeRate[]): CatchUpRules => (bucket === null ? wanted : affordableRules(wanted, catchUpCreditsPerMs(bucket), rates));

/** How fast a module changed over the window of a catch-up; null where it was not read. */
export function changeRateOf(catchUp: CatchUpRow | undefined): ChangeRate | null {
  if (catchUp === undefined || catchUp.startedAt === null) return null;
  return catchUp.result.rows / Math.max(1_000, catchUp.startedAt.getTime() - catchUp.from.getTime());
}

const READ_EVERY_MS = 10_000;
/** An incident that credits are scarce ends once the bucket is as full again. */
const AMPLE = 0.75;

/** Makes catch-ups rarer where credits are scarce, and reports that, and that others have touched the reserve. */
export class CreditWatch {
  /** The rules of catch-ups; their intervals follow the credits. */
  readonly rules: CatchUpRules;
  readonly #deps: CreditDeps & { readonly catchUps?: Pick<CatchUps, 'latest'> };
  readonly #time: Pick<Time, 'elapsed'>;
  readonly #reporter: Reporter;
  readonly #rates = new Map<string, ChangeRate>();
  #readAt = Number.NEGATIVE_INFINITY;
  #wasCoarser = false;
  readonly #wanted: CatchUpRules;
  #paid: CatchUpRules;

  constructor(deps: CreditDeps & { readonly catchUpRules: CatchUpRules; readonly catchUps?: Pick<CatchUps, 'latest'>; readonly time?: Pick<Time, 'elapsed'> }, reporter: Reporter) {
    const { catchUpRules } = deps;
    const paid = (): CatchUpRules => this.#paid;
    this.#deps = deps;
    this.#time = deps.time ?? realTime;
    this.#reporter = reporter;
    this.#wanted = catchUpRules;
    this.#paid = catchUpRules;
    this.rules = {
      ...catchUpRules,
      get intervalMs() {
        return paid().intervalMs;
      },
      get secondPassEveryMs() {
        return paid().secondPassEveryMs;
      },
      get secondPassOverMs() {
        return paid().secondPassOverMs;
      },
    };
  }

  /** Called in each round of a module; reads every ten seconds. */
  async update({ apiName }: ModuleDefinition): Promise<void> {
    if (!this.#rates.has(apiName)) this.#rates.set(apiName, 0);
    const elapsedMs = this.#time.elapsed();
    if (this.#deps.creditRules.perDay === null || elapsedMs < this.#readAt + READ_EVERY_MS) return;
    const credits = await readCredits(this.#deps);
    await this.#readRates();
    const bucket = this.#deps.budget?.state() ?? null;
    this.#paid = paidRules(this.#wanted, bucket, [...this.#rates.values()]);
    this.#readAt = elapsedMs;
    await this.#reportLow(credits);
    await this.#reportCoarser(bucket);
  }

  async #readRates(): Promise<void> {
    for (const module of this.#rates.keys()) {
      const rate = changeRateOf((await this.#deps.catchUps?.latest(module))?.any);
      if (rate !== null) this.#rates.set(module, rate);
    }
  }

  async #reportLow(credits: Credits): Promise<void> {
    if (!isLow(credits)) return await this.#reporter.close('', 'credits-low');
    await this.#reporter.open('', 'credits-low', `${creditsLeft(credits)} of the day's ${credits.perDay} credits are left, ${-aboveReserve(credits)} less than the reserve; catch-ups are ${minutes(this.rules.intervalMs)} minutes apart`);
  }

  async #reportCoarser(bucket: FilledBucket | null): Promise<void> {
    const isAmple = bucket === null || bucket.level > bucket.capacity * AMPLE;
    this.#wasCoarser = bucket !== null && !isAmple && (this.#wasCoarser || isCoarser(bucket));
    if (bucket === null || !this.#wasCoarser) return await this.#reporter.close('', 'credits-scarce');
    await this.#reporter.open('', 'credits-scarce', `${Math.floor(bucket.level)} of ${Math.floor(bucket.capacity)} credits may be spent at once: ${looksText(lookEveryMs(bucket))}, catch-ups are ${minutes(this.rules.intervalMs)} minutes apart`);
  }
}

const minutes = (ms: number): number => Math.round(ms / 6_000) / 10;

const looksText = (everyMs: number): string => (everyMs === 0 ? 'looks are made at once' : Number.isFinite(everyMs) ? `looks at a module are ${Math.ceil(everyMs / 1_000)} s apart` : 'no looks are made');
