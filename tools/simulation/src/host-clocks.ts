import type { Random } from '@lockstep/crm-simulator';
import type { Time } from '@lockstep/telemetry';

import type { VirtualTime } from './virtual-time.ts';

/** A host whose wall clock may be set; its monotonic clock goes with true time. */
export class HostTime implements Time {
  readonly #time: VirtualTime;
  /** How far the wall clock is ahead of true time. */
  aheadMs = 0;

  constructor(time: VirtualTime) {
    this.#time = time;
  }

  now(): number {
    return this.#time.now() + this.aheadMs;
  }

  elapsed(): number {
    return this.#time.elapsed();
  }

  sleep(ms: number, signal?: AbortSignal): Promise<void> {
    return this.#time.sleep(ms, signal);
  }

  after(ms: number, call: () => void): () => void {
    return this.#time.after(ms, call);
  }

  jitter(): number {
    return this.#time.jitter();
  }
}

/** Whose clock can be set: the host of an app, the database's, or the CRM's own, with which it stamps and dates. */
export const clockNames = ['ingress', 'scheduler', 'projector', 'database', 'crm'] as const;
export type ClockName = (typeof clockNames)[number];

/** The clocks of a world. */
export type HostClocks = Readonly<Record<ClockName, HostTime>>;

export const hostClocks = (time: VirtualTime): HostClocks => ({ ingress: new HostTime(time), scheduler: new HostTime(time), projector: new HostTime(time), database: new HostTime(time), crm: new HostTime(time) });

const HOUR_MS = 3_600_000;

/** Sets one clock an hour forward or back, or one that was set right again. @returns the clock, and whether it went back. */
export function stepSomeClock(clocks: HostClocks, random: Random): { readonly name: ClockName; readonly isBack: boolean } {
  const name = clockNames[random.below(clockNames.length)] ?? 'ingress';
  const clock = clocks[name];
  const before = clock.aheadMs;
  clock.aheadMs = before === 0 ? (random.below(2) === 0 ? HOUR_MS : -HOUR_MS) : 0;
  return { name, isBack: clock.aheadMs < before };
}

/** Sets all clocks right. @returns whether the CRM's went back. */
export function setClocksRight(clocks: HostClocks): boolean {
  const isBack = clocks.crm.aheadMs > 0;
  for (const name of clockNames) clocks[name].aheadMs = 0;
  return isBack;
}
