import { setTimeout as sleep } from 'node:timers/promises';

import type { PoolClient } from 'pg';

import type { Database } from './database.ts';

/**
 * Words between processes, by LISTEN and NOTIFY: `poll` (a bulk job may have ended), `ready` (a page may be downloaded). They
 * only make things fast: what waits for one also looks by itself from time to time.
 */
export type SignalName = 'poll' | 'ready';

export type Signals = {
  send(name: SignalName): Promise<void>;
  /**
   * Settles at the next signal of this name, or at once where one came since it was last waited for; never rejects.
   * @param until ends the waiting, and leaves nothing behind.
   */
  next(name: SignalName, until?: AbortSignal): Promise<void>;
  close(): Promise<void>;
};

const RECONNECT_MS = 1_000;

/** Listens on a connection of its own, and takes a new one when that breaks. */
export function createSignals({ pool }: Database): Signals {
  const closing = new AbortController();
  const waiting = new Map<SignalName, Set<() => void>>();
  const missed = new Set<SignalName>();
  const listening = keepListening(pool, closing.signal, (name) => {
    const waiters = waiting.get(name) ?? new Set();
    waiting.delete(name);
    if (waiters.size === 0) missed.add(name);
    for (const settle of waiters) settle();
  });
  const wait = (name: SignalName, until: AbortSignal | undefined): Promise<void> =>
    new Promise((resolve) => {
      const waiters = waiting.get(name) ?? new Set();
      waiting.set(name, waiters);
      const settle = (): void => {
        until?.removeEventListener('abort', settle);
        waiters.delete(settle);
        resolve();
      };
      waiters.add(settle);
      until?.addEventListener('abort', settle);
    });
  return {
    send: async (name) => void (await pool.query('select pg_notify($1, $2)', ['lockstep', name])),
    next: (name, until) => {
      if (until?.aborted === true || missed.delete(name)) return Promise.resolve();
      return wait(name, until);
    },
    close: async () => {
      closing.abort();
      await listening;
    },
  };
}

async function keepListening(pool: Database['pool'], signal: AbortSignal, onSignal: (name: SignalName) => void): Promise<void> {
  while (!signal.aborted) {
    try {
      await listenOnce(await pool.connect(), signal, onSignal);
    } catch {
      await sleep(RECONNECT_MS, undefined, { signal }).catch(() => undefined);
    }
  }
}

/** Listens until aborted; rejects when the connection breaks. */
async function listenOnce(client: PoolClient, signal: AbortSignal, onSignal: (name: SignalName) => void): Promise<void> {
  const ended = Promise.withResolvers<void>();
  client.on('error', ended.reject);
  client.on('notification', ({ payload }) => onSignal(payload as SignalName));
  const stop = (): void => ended.resolve();
  signal.addEventListener('abort', stop);
  try {
    await client.query('listen lockstep');
    if (!signal.aborted) await ended.promise;
  } finally {
    signal.removeEventListener('abort', stop);
    client.release(true);
  }
}
