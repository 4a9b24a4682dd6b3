import { Agent, request } from 'undici';

import type { Clock } from './clock.ts';
import { type Random, seededRandom } from './random.ts';

/** What may go wrong with notifications; probabilities from 0 to 1. */
export type Faults = {
  /** Never sent. */
  readonly drop: number;
  /** Sent a second time, a little later. */
  readonly double: number;
  /** Held back, so that later ones overtake it. */
  readonly reorder: number;
  /** How long a reordered or duplicated one is held back at most, milliseconds. */
  readonly holdBackMs: number;
  /** Sent with ids of records that did not change, as related records are, and with one that no record has. */
  readonly noise: number;
};

const noFaults: Faults = { drop: 0, double: 0, reorder: 0, holdBackMs: 500, noise: 0 };

/** One HTTP call to make. The body is written when it is sent, because it carries the time of sending. */
export type Delivery = { readonly url: string; readonly body: (sentAtMs: number) => string; readonly onSent?: (sentAtMs: number) => void };

type Settings = {
  readonly clock: Clock;
  readonly seed: number;
  readonly delayMs: readonly [number, number];
  readonly concurrency: number;
  readonly timeoutMs: number;
};

/** Waiting beyond this, further ones are dropped: a receiver that is down must not fill the memory. */
const MAX_WAITING = 100_000;

/**
 * Every HTTP call the CRM makes of its own accord passes here: this is the place for what a network and a vendor can do
 * to it. One attempt each, no retry; order is what the random delays leave of it.
 */
export class Deliveries {
  readonly #settings: Settings;
  readonly #random: Random;
  readonly #agent: Agent;
  readonly #stop = new AbortController();
  readonly #waiting: Delivery[] = [];
  readonly #pending = new Set<Promise<void>>();
  #sending = 0;
  #faults: Faults = noFaults;
  #idle: (() => void)[] = [];
  readonly counts = { sent: 0, accepted: 0, refused: 0, failed: 0, dropped: 0, doubled: 0, reordered: 0, noisy: 0, overflowed: 0 };

  constructor(settings: Settings) {
    this.#settings = settings;
    this.#random = seededRandom(settings.seed ^ 0x00d371);
    this.#agent = new Agent({ connections: settings.concurrency, headersTimeout: settings.timeoutMs, bodyTimeout: settings.timeoutMs, connectTimeout: settings.timeoutMs });
  }

  get faults(): Faults {
    return this.#faults;
  }

  setFaults(faults: Partial<Faults>): void {
    this.#faults = { ...this.#faults, ...faults };
  }

  /** Whether the next notification names strangers. */
  isNoisy(): boolean {
    const isNoisy = this.#faults.noise > 0 && this.#random.next() < this.#faults.noise;
    if (isNoisy) this.counts.noisy++;
    return isNoisy;
  }

  /** Sends a notification, as well or as badly as the faults let it. Returns at once. */
  notify(delivery: Delivery): void {
    const { drop, double, reorder, holdBackMs } = this.#faults;
    if (this.#random.next() < drop) {
      this.counts.dropped++;
      return;
    }
    const isHeldBack = this.#random.next() < reorder;
    if (isHeldBack) this.counts.reordered++;
    const delayMs = this.#delayMs() + (isHeldBack ? this.#random.next() * holdBackMs : 0);
    // A duplicated notification is the same bytes twice.
    let body: string | undefined;
    const same: Delivery = { ...delivery, body: (sentAtMs) => (body ??= delivery.body(sentAtMs)) };
    this.#after(delayMs, same);
    if (this.#random.next() >= double) return;
    this.counts.doubled++;
    this.#after(delayMs + this.#random.next() * holdBackMs, { url: same.url, body: same.body });
  }

  /** Sends without delay or faults: the callbacks of bulk jobs. */
  send(delivery: Delivery): void {
    this.#after(0, delivery);
  }

  /** Calls that are still to be made or under way. */
  get outstanding(): number {
    return this.#pending.size + this.#waiting.length + this.#sending;
  }

  /** Resolves when nothing is waiting or under way. With a driven clock the caller has to move the time. */
  async settled(): Promise<void> {
    if (this.outstanding === 0) return;
    await new Promise<void>((resolve) => this.#idle.push(resolve));
  }

  async close(): Promise<void> {
    this.#waiting.length = 0;
    this.#stop.abort();
    await this.#agent.destroy();
  }

  #delayMs(): number {
    const [min, max] = this.#settings.delayMs;
    return min + this.#random.next() * (max - min);
  }

  #after(ms: number, delivery: Delivery): void {
    if (this.#pending.size + this.#waiting.length >= MAX_WAITING) {
      this.counts.overflowed++;
      return;
    }
    const waited = this.#wait(ms, delivery).finally(() => this.#pending.delete(waited));
    this.#pending.add(waited);
  }

  async #wait(ms: number, delivery: Delivery): Promise<void> {
    if (ms > 0) await this.#settings.clock.sleep(ms, this.#stop.signal);
    if (this.#stop.signal.aborted) return;
    this.#waiting.push(delivery);
    this.#pump();
  }

  #pump(): void {
    while (this.#sending < this.#settings.concurrency) {
      const delivery = this.#waiting.shift();
      if (delivery === undefined) break;
      this.#sending++;
      // Outcomes are counted inside; nothing is left to be thrown.
      void this.#post(delivery).finally(() => {
        this.#sending--;
        this.#pump();
        if (this.#sending > 0 || this.#pending.size > 0) return;
        for (const resolve of this.#idle.splice(0)) resolve();
      });
    }
  }

  async #post(delivery: Delivery): Promise<void> {
    const sentAtMs = this.#settings.clock.nowMs();
    this.counts.sent++;
    delivery.onSent?.(Date.now());
    try {
      const reply = await request(delivery.url, {
        method: 'POST',
        headers: { 'content-type': 'application/json;charset=UTF-8' },
        body: delivery.body(sentAtMs),
        dispatcher: this.#agent,
        signal: AbortSignal.any([this.#stop.signal, AbortSignal.timeout(this.#settings.timeoutMs)]),
      });
      await reply.body.dump();
      if (reply.statusCode < 300) this.counts.accepted++;
      else this.counts.refused++;
    } catch {
      this.counts.failed++;
    }
  }
}
