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
  /** Settles at the next signal of this name; never rejects. */
  next(name: SignalName): Promise<void>;
  close(): Promise<void>;
};

const RECONNECT_MS = 1_000;

/** Listens on a connection of its own, and takes a new one when that breaks. */
export function createSignals({ pool }: Database): Signals {
  const closing = new AbortController();
  const waiting = new Map<SignalName, PromiseWithResolvers<void>>();
  const listening = keepListening(pool, closing.signal, (name) => {
    waiting.get(name)?.resolve();
    waiting.delete(name);
  });
  return {
    send: async (name) => void (await pool.query('select pg_notify($1, $2)', ['lockstep', name])),
    next: (name) => {
      const known = waiting.get(name) ?? Promise.withResolvers<void>();
      waiting.set(name, known);
      return known.promise;
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
