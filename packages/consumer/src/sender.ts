import { type Database, type Lease, lease } from '@lockstep/postgres';
import { crashPoint, loop, type Logger } from '@lockstep/telemetry';

import { type BackOff, defaultBackOff, probeInMs, REPORT_AFTER_ATTEMPTS, retryInMs } from './back-off.ts';
import { type Delivery, dueDeliveries, forgetDelivered, noteDelivered, noteFailed } from './outbox.ts';

/**
 * Sends one delivery. It has been accepted once this resolves; whatever it throws, the delivery is tried again. It may be called twice for the same
 * delivery, in the end by two processes: the receiver recognises it by `idempotencyKey`.
 * @param signal aborted when the time is up, or this process may not send any more.
 */
export type Send = (delivery: Delivery, signal: AbortSignal) => Promise<void>;

export type SenderOptions = {
  readonly db: Database;
  readonly name: string;
  readonly schema: string;
  readonly send: Send;
  readonly log: Logger;
  /** Deliveries of different records that may be on their way at once. */
  readonly concurrency: number;
  readonly timeoutMs: number;
  readonly keepDeliveredDays: number;
  readonly backOff?: BackOff;
  readonly onOutcome?: (outcome: 'delivered' | 'failed') => void;
};

const POLL_MS = 250;
const FORGET_EVERY_MS = 60_000;

/**
 * Sends what the outbox holds, those of one record in order. One process at a time does so, by a lease.
 *
 * A delivery that fails is tried again after 1 s, 2 s, 4 s, … and holds back the later ones of its own record only. Where nothing gets through any more, the
 * receiver is down: then one delivery at a time tries it, less and less often, and that does not count against the delivery.
 */
export class Sender {
  readonly #options: SenderOptions;
  readonly #backOff: BackOff;
  readonly #closing = new AbortController();
  #lease: Lease | null = null;
  #failuresInRow = 0;
  #lastError = '';
  #forgottenAt = 0;
  #wake: () => void = () => undefined;
  #running: Promise<void> = Promise.resolve();

  constructor(options: SenderOptions) {
    this.#options = options;
    this.#backOff = options.backOff ?? defaultBackOff;
  }

  start(): void {
    const { log } = this.#options;
    const wake = (): Promise<void> =>
      new Promise((resolve) => {
        // A receiver that is down is not tried more often because there is more to send.
        if (probeInMs(this.#backOff, this.#failuresInRow) === 0) this.#wake = resolve;
      });
    this.#running = loop({ name: 'outbox', everyMs: () => Math.max(POLL_MS, probeInMs(this.#backOff, this.#failuresInRow)), signal: this.#closing.signal, log, body: () => this.#round(), wake });
  }

  /** There may be more to send. */
  wake(): void {
    this.#wake();
  }

  /** @throws {Error} while the receiver is down; for the readiness check. */
  check(): void {
    if (this.#failuresInRow >= this.#backOff.downAfter) throw new Error(`${this.#failuresInRow} attempts in a row have failed, the last by: ${this.#lastError}`);
  }

  /** What is on its way is broken off: it is sent again, with the same key, by the next one. */
  async close(): Promise<void> {
    this.#closing.abort();
    await this.#running;
    await this.#lease?.release();
  }

  /** @returns whether there may be more that is due. */
  async #round(): Promise<boolean> {
    const held = await this.#held();
    if (held === null) return false;
    const { db, schema, concurrency } = this.#options;
    await this.#forget();
    const isDown = this.#failuresInRow >= this.#backOff.downAfter;
    const due = await dueDeliveries(db.pool, schema, isDown ? 1 : concurrency);
    // All have to have ended, also where one could not be noted: none may be under way when it is due again.
    const outcomes = await Promise.allSettled(due.map((delivery) => this.#deliver(delivery, held)));
    const failed = outcomes.find((one) => one.status === 'rejected');
    if (failed !== undefined) throw failed.reason;
    return outcomes.some((one) => one.status === 'fulfilled' && one.value);
  }

  async #held(): Promise<Lease | null> {
    if (this.#lease?.signal.aborted !== false) this.#lease = await lease(this.#options.db, `consumer ${this.#options.name} outbox`);
    return this.#lease;
  }

  /** @returns whether it was accepted. */
  async #deliver(delivery: Delivery, held: Lease): Promise<boolean> {
    const { db, schema, send, timeoutMs, onOutcome } = this.#options;
    const signal = AbortSignal.any([held.signal, this.#closing.signal, AbortSignal.timeout(timeoutMs)]);
    try {
      await send(delivery, signal);
    } catch (error) {
      // Broken off by us: the receiver is not to blame.
      if (held.signal.aborted || this.#closing.signal.aborted) return false;
      await this.#noteFailure(delivery, error);
      onOutcome?.('failed');
      return false;
    }
    crashPoint('delivery-sent');
    await noteDelivered(db.pool, schema, [delivery]);
    this.#failuresInRow = 0;
    onOutcome?.('delivered');
    return true;
  }

  async #noteFailure(delivery: Delivery, error: unknown): Promise<void> {
    const { db, schema, log } = this.#options;
    const isCounted = this.#failuresInRow < this.#backOff.downAfter;
    this.#failuresInRow += 1;
    this.#lastError = error instanceof Error ? error.message : String(error);
    const attempts = delivery.attempts + Number(isCounted);
    const waitMs = isCounted ? retryInMs(this.#backOff, attempts, Math.random()) : 0;
    await noteFailed(db.pool, schema, delivery, { error: this.#lastError, retryInMs: waitMs, isCounted });
    const facts = { module: delivery.module, id: delivery.id, idempotencyKey: delivery.idempotencyKey, attempts, waitMs, err: error };
    if (isCounted && attempts === REPORT_AFTER_ATTEMPTS) log.error(facts, 'a delivery fails again and again; it is tried less and less often, and later ones of its record wait');
    else log.warn(facts, 'a delivery has failed and will be tried again');
  }

  async #forget(): Promise<void> {
    const { db, schema, keepDeliveredDays } = this.#options;
    if (this.#forgottenAt !== 0 && performance.now() - this.#forgottenAt < FORGET_EVERY_MS) return;
    this.#forgottenAt = performance.now();
    await forgetDelivered(db.pool, schema, keepDeliveredDays);
  }
}
