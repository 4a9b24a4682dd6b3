import type { FalseClaim } from './judge.ts';

/** What came of the watching. Of the false claims the first ten are listed, all are counted. */
export type Watched = {
  readonly watchedMs: number;
  /** How often freshness was read, and how often it should have been at least. */
  readonly samples: number;
  readonly leastSamples: number;
  /** Failed readings by error code: while the database was down because it was killed, and all others. */
  readonly whileDown: Readonly<Record<string, number>>;
  readonly failed: Readonly<Record<string, number>>;
  /** Whether the last reading, when all was quiet, was one. */
  readonly hasLast: boolean;
  /** The most changed records that claims have covered at once; and the modules without any claim at the end. */
  readonly covered: number;
  readonly unclaimed: readonly string[];
  readonly falseClaimCount: number;
  readonly falseClaims: readonly FalseClaim[];
};

/** Freshness is read once a second where the machine has time for it; below one in five the watching proves little. */
export const EVERY_MS = 1_000;
const LEAST_SHARE = 0.2;

/** How many readings a watch of this length has to have at least: time while the database was down does not count. */
export const leastSamplesIn = (watchedMs: number, downMs: number): number => Math.max(1, Math.floor((Math.max(0, watchedMs - downMs) / EVERY_MS) * LEAST_SHARE));

/** Why a watch proves nothing, or proves the contrary; empty when it is a proof. */
export function problemsOfWatch({ watchedMs, samples, leastSamples, failed, hasLast, covered, unclaimed, falseClaimCount }: Watched): string[] {
  const failures = Object.entries(failed).map(([code, count]) => `${count} by ${code}`);
  return [
    ...(samples < leastSamples ? [`freshness was read ${samples} times in ${Math.round(watchedMs / 1000)} s; ${leastSamples} times at least were expected`] : []),
    ...(failures.length > 0 ? [`freshness could not be read, though the database was not down: ${failures.join(', ')}`] : []),
    ...(hasLast ? [] : ['freshness could not be read at the end']),
    ...(covered === 0 ? ['no claim ever covered a change, which proves nothing'] : []),
    ...(unclaimed.length > 0 ? [`freshness never claimed anything of ${unclaimed.join(', ')}`] : []),
    ...(falseClaimCount > 0 ? [`${falseClaimCount} false claims`] : []),
  ];
}

/** A span of time, by a monotonic clock; open while it lasts. */
type Span = { readonly fromMs: number; untilMs: number | null };

/** Counts readings, and separates failures that an outage explains from others. */
export class Tally {
  readonly #now: () => number;
  readonly #beganMs: number;
  readonly #outages: Span[] = [];
  readonly #whileDown: Record<string, number> = {};
  readonly #failed: Record<string, number> = {};
  #falseClaims: FalseClaim[] = [];
  #known = new Set<string>();
  #counts = { samples: 0, covered: 0, hasLast: false };

  /** @param now milliseconds of a monotonic clock. */
  constructor(now: () => number) {
    this.#now = now;
    this.#beganMs = now();
  }

  /** The database is killed. @returns what to call once it answers again. */
  down(): () => void {
    const outage: Span = { fromMs: this.#now(), untilMs: null };
    this.#outages.push(outage);
    return () => {
      outage.untilMs ??= this.#now();
    };
  }

  taken(covered: number, falseClaims: readonly FalseClaim[]): void {
    this.#counts = { samples: this.#counts.samples + 1, covered: Math.max(this.#counts.covered, covered), hasLast: true };
    for (const claim of falseClaims) this.#report(claim);
  }

  /** @param beganMs when the reading that failed had begun. */
  failed(error: unknown, beganMs: number): void {
    this.#counts.hasLast = false;
    const isDown = this.#outages.some(({ fromMs, untilMs }) => fromMs <= this.#now() && (untilMs ?? Infinity) >= beganMs);
    const counts = isDown ? this.#whileDown : this.#failed;
    const kind = kindOf(error);
    counts[kind] = (counts[kind] ?? 0) + 1;
  }

  /** @param unclaimed modules without a claim at the end. */
  watched(unclaimed: readonly string[]): Watched {
    const [watchedMs, downMs] = [this.#now() - this.#beganMs, this.#outages.reduce((sum, { fromMs, untilMs }) => sum + (untilMs ?? this.#now()) - fromMs, 0)];
    return { watchedMs, leastSamples: leastSamplesIn(watchedMs, downMs), ...this.#counts, whileDown: this.#whileDown, failed: this.#failed, unclaimed, falseClaimCount: this.#known.size, falseClaims: this.#falseClaims };
  }

  /** Each is reported once, at its first false claim. */
  #report(claim: FalseClaim): void {
    const name = JSON.stringify([claim.kind, claim.module, claim.id, claim.changedAt, claim.column, claim.id === undefined ? claim.claimedUpTo : '']);
    if (this.#known.has(name)) return;
    this.#known.add(name);
    if (this.#falseClaims.length < EXAMPLES) this.#falseClaims.push(claim);
  }
}

const EXAMPLES = 10;

const kindOf = (error: unknown): string => {
  const { code, name, message } = error as { code?: unknown; name?: string; message?: string };
  return typeof code === 'string' ? code : `${name ?? 'Error'}: ${(message ?? String(error)).slice(0, 100)}`;
};
