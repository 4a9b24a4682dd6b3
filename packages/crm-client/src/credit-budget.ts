import { type Bucket, dayBucket, type FilledBucket, keptFor, refilled, retryBucket, untilLevelMs } from '@lockstep/completeness';
import { realTime, type Time } from '@lockstep/telemetry';

import type { CallPurpose } from './credits.ts';
import { CrmError } from './errors.ts';
import { notSent } from './gate.ts';

/*
 * Every call is paid before it is sent, out of a bucket that all processes share. What its purpose has to leave in the bucket decides who goes on longest: catch-ups,
 * which keep the watermark moving, then bulk reads, then looks. A call that repeats a failed one is paid out of a second, small bucket besides.
 */

type Draw = { readonly capacity: number; readonly perDay: number; readonly credits: number; readonly keep: number; readonly ceiling: number | null };
type Limit = { readonly source: 'edition' | 'header'; readonly perDay: number; readonly ageMs: number };

/** Where the buckets are kept that the processes of an installation share, and what was learned of the day's credits. */
export type CreditStore = {
  draw(bucket: 'day' | 'retry', draw: Draw): Promise<{ readonly isDrawn: boolean; readonly level: number }>;
  limits(): Promise<readonly Limit[]>;
  noteLimit(source: Limit['source'], perDay: number): Promise<void>;
};

/** What the organisation has in 24 hours, null where it is not configured; and the share of it that is left to others. */
export type BudgetRules = { readonly perDay: number | null; readonly reserve: number };

/** A call that is to be paid. */
export type Charge = {
  readonly purpose: CallPurpose;
  readonly credits: number;
  /** The same for calls that repeat each other, e.g. looks at one module. */
  readonly kind: string;
  readonly signals?: readonly AbortSignal[];
};

/** A call that is paid. One of these is called once it has ended. */
export type Payment = {
  readonly isRetry: boolean;
  answered(): void;
  failed(): void;
  /** It was not sent. */
  refund(): Promise<void>;
};

/** What a catch-up waits for its credits at most; the others are put off by those who make them. */
const MAX_WAIT_MS = { 'catch-up': 15 * 60_000, look: 5_000, 'bulk-read': 5_000, other: 5_000 } satisfies Record<CallPurpose, number>;
const WAIT_STEP_MS = 30_000;
/** What failed is ordinary work again after as long for each credit it costs: then it is no repetition, but another day's try. */
const FRESH_AFTER_MS = 10 * 60_000;
const MAX_KINDS = 1_000;
/** Where others spend what is left to them and more, catch-ups go on out of this share of the bucket. */
const FLOOR = 0.25;

const nothing = (): void => undefined;
const free: Payment = { isRetry: false, answered: nothing, failed: nothing, refund: () => Promise.resolve() };

/** The budget of the organisation's credits, as one process pays out of it. Without a known limit everything is free. */
export class CreditBudget {
  readonly #store: CreditStore;
  readonly #rules: BudgetRules;
  readonly #time: Time;
  readonly #failedAt = new Map<string, number>();
  #learned: number | null = null;
  #remaining: number | null = null;
  #level = Number.POSITIVE_INFINITY;
  #levelAt = 0;
  /** Paid while the store did not answer. */
  #owed = 0;

  constructor({ store, rules, time = realTime }: { readonly store: CreditStore; readonly rules: BudgetRules; readonly time?: Time }) {
    this.#store = store;
    this.#rules = rules;
    this.#time = time;
  }

  /** The day's credits: as configured, else as the edition grants them, else twice what the header said last of half of them; null while none is known. */
  get perDay(): number | null {
    return this.#rules.perDay ?? this.#learned;
  }

  /** The bucket and what is in it, as far as this process knows; null without a budget. */
  state(): FilledBucket | null {
    const bucket = this.#bucket();
    return bucket === null ? null : { ...bucket, level: Math.min(refilled(bucket, this.#level, this.#time.elapsed() - this.#levelAt), this.#ceiling() ?? Number.POSITIVE_INFINITY) };
  }

  /** Whether so much can be paid now, as far as this process knows. */
  canPay({ purpose, credits }: Pick<Charge, 'purpose' | 'credits'>): boolean {
    const state = this.state();
    return state === null || state.level - credits >= keptFor(state, purpose);
  }

  /**
   * Pays a call. A catch-up's waits until it can be paid, others do for seconds.
   * @throws {CrmError} `CRM_BUDGET_SPENT` where it cannot be paid; `CRM_UNREACHABLE` when a signal is aborted.
   */
  async pay({ purpose, credits, kind, signals = [] }: Charge): Promise<Payment> {
    const perDay = this.perDay;
    if (perDay === null) return free;
    const isRetry = this.#isRetry(kind, credits);
    if (isRetry && !(await this.#drawRetry(perDay, credits))) throw new CrmError('the call was not sent: one per cent of the day\'s credits has gone into retries', 'CRM_BUDGET_SPENT');
    const givesUpAt = this.#time.elapsed() + MAX_WAIT_MS[purpose];
    while (!(await this.#draw(purpose, credits))) {
      const state = this.state() as FilledBucket;
      const waitMs = untilLevelMs(state, credits + keptFor(state, purpose));
      if (this.#time.elapsed() + waitMs > givesUpAt) throw new CrmError(`the call was not sent: the budget has ${Math.floor(state.level)} credits at present, and a ${purpose} call of ${credits} has to leave ${Math.ceil(keptFor(state, purpose))}`, 'CRM_BUDGET_SPENT');
      const signal = AbortSignal.any([...signals]);
      if (!signal.aborted) await this.#time.sleep(Math.min(Math.max(waitMs, 100), WAIT_STEP_MS), signal);
      if (signal.aborted) throw notSent('it was given up while it waited for credits');
    }
    return { isRetry, answered: () => void this.#failedAt.delete(kind), failed: () => this.#failed(kind), refund: () => this.#refund(credits, isRetry) };
  }

  /** Takes in what the CRM says is left to everybody; null where an answer does not say, for more than half is. */
  learn(remaining: number | null): void {
    this.#remaining = remaining;
    if (remaining === null || this.#rules.perDay !== null) return;
    // It is named once half is used: twice as much is not more than the day's.
    if (this.#learned === null || remaining * 2 > this.#learned) {
      this.#learned = remaining * 2;
      void this.#store.noteLimit('header', this.#learned).catch(nothing); // Learned again from the next answer.
    }
  }

  /** Reads what the other processes have spent and learned. @returns the limits that are noted. */
  async refresh(): Promise<readonly Limit[]> {
    const limits = this.#rules.perDay === null ? await this.#store.limits() : [];
    const ofSource = (source: Limit['source']): number | null => limits.find((limit) => limit.source === source)?.perDay ?? null;
    this.#learned = ofSource('edition') ?? ofSource('header') ?? this.#learned;
    if (this.#bucket() !== null) await this.#take('day', 0, 0);
    return limits;
  }

  #bucket(): Bucket | null {
    const { perDay } = this;
    return perDay === null ? null : dayBucket({ perDay, reserve: this.#rules.reserve });
  }

  /** What is left above the reserve, where the CRM says. */
  #ceiling(): number | null {
    const bucket = this.#bucket();
    if (this.#remaining === null || bucket === null) return null;
    return Math.max(this.#remaining - (this.perDay ?? 0) * this.#rules.reserve, bucket.capacity * FLOOR);
  }

  #isRetry(kind: string, credits: number): boolean {
    const failedAt = this.#failedAt.get(kind);
    return failedAt !== undefined && this.#time.elapsed() < failedAt + credits * FRESH_AFTER_MS;
  }

  #failed(kind: string): void {
    this.#failedAt.delete(kind);
    this.#failedAt.set(kind, this.#time.elapsed());
    const [oldest] = this.#failedAt.keys();
    if (this.#failedAt.size > MAX_KINDS && oldest !== undefined) this.#failedAt.delete(oldest);
  }

  async #drawRetry(perDay: number, credits: number): Promise<boolean> {
    return await this.#store.draw('retry', { ...retryBucket(perDay), credits, keep: 0, ceiling: null }).then(
      ({ isDrawn }) => isDrawn,
      () => false,
    );
  }

  async #draw(purpose: CallPurpose, credits: number): Promise<boolean> {
    const bucket = this.#bucket();
    return bucket === null || (await this.#take(purpose, credits, keptFor(bucket, purpose)));
  }

  async #take(purpose: CallPurpose | 'day', credits: number, keep: number): Promise<boolean> {
    const owed = this.#owed;
    this.#owed = 0;
    try {
      // What is owed was spent already: it is taken whatever is left.
      if (owed > 0) await this.#store.draw('day', { ...this.#drawn(), credits: owed, keep: Number.NEGATIVE_INFINITY });
    } catch {
      this.#owed += owed;
    }
    try {
      const { isDrawn, level } = await this.#store.draw('day', { ...this.#drawn(), credits, keep });
      [this.#level, this.#levelAt] = [level, this.#time.elapsed()];
      return isDrawn;
    } catch {
      const isPayable = purpose !== 'day' && this.canPay({ purpose, credits });
      if (isPayable) this.#owe(credits);
      return isPayable;
    }
  }

  #drawn(): Pick<Draw, 'capacity' | 'perDay' | 'ceiling'> {
    return { ...(this.#bucket() as Bucket), ceiling: this.#ceiling() };
  }

  #owe(credits: number): void {
    this.#level = (this.state()?.level ?? 0) - credits;
    this.#levelAt = this.#time.elapsed();
    this.#owed += credits;
  }

  async #refund(credits: number, isRetry: boolean): Promise<void> {
    const back = { credits: -credits, keep: 0 };
    // Nothing is lost but the credits, where this fails.
    await this.#store.draw('day', { ...this.#drawn(), ...back }).catch(nothing);
    if (isRetry) await this.#store.draw('retry', { ...retryBucket(this.perDay ?? 0), ...back, ceiling: null }).catch(nothing);
  }
}
