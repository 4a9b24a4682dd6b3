import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';

import type { Time } from '@lockstep/telemetry';

/** Time that stands still until a test moves it; `step` sets the wall clock alone, as an operator does. `jitter` is 0. */
export function handTime(startMs = Date.UTC(2026, 4, 4, 10)): Time & { advance(ms: number): Promise<void>; step(ms: number): void } {
  let now = startMs;
  let steppedMs = 0;
  const sleepers = new Set<{ readonly at: number; readonly wake: () => void }>();
  const turn = (): Promise<void> => new Promise((resolve) => void setImmediate(resolve));
  const after = (ms: number, wake: () => void): (() => void) => {
    const sleeper = { at: now + ms, wake };
    sleepers.add(sleeper);
    return () => void sleepers.delete(sleeper);
  };
  return {
    now: () => now + steppedMs,
    step: (ms) => void (steppedMs += ms),
    elapsed: () => now - startMs,
    after,
    jitter: () => 0,
    sleep: (ms, signal) =>
      new Promise((resolve) => {
        const takeBack = after(ms, resolve);
        const stop = (): void => {
          takeBack();
          resolve();
        };
        if (signal?.aborted === true) stop();
        signal?.addEventListener('abort', stop, { once: true });
      }),
    advance: async (ms) => {
      now += ms;
      for (const sleeper of [...sleepers].filter(({ at }) => at <= now)) {
        sleepers.delete(sleeper);
        sleeper.wake();
      }
      for (let turns = 0; turns < 5; turns += 1) await turn();
    },
  };
}

/** A CRM of a few lines, for replies that the simulator, which keeps to the vendor's forms, never gives. */
export type CrmStub = { readonly url: string; close(): Promise<void> };

/**
 * Starts one. Tokens are granted; any other call is answered with what `reply` returns: bytes as they are, `null` as 204, all else as JSON; where it throws, with 400
 * and the code and details of the error.
 */
export async function crmStub(reply: (call: { readonly path: string; readonly body: string }) => unknown): Promise<CrmStub> {
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const path = request.url ?? '';
      const { status, bytes } = path.startsWith('/oauth') ? answer(() => ({ access_token: 'token', expires_in: 3600 })) : answer(() => reply({ path, body: Buffer.concat(chunks).toString() }));
      response.writeHead(status, { 'content-type': 'application/json;charset=UTF-8' }).end(bytes);
    });
  });
  await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

function answer(make: () => unknown): { readonly status: number; readonly bytes: Uint8Array } {
  try {
    const made = make();
    if (made === null) return { status: 204, bytes: Buffer.alloc(0) };
    return { status: 200, bytes: made instanceof Uint8Array ? made : Buffer.from(JSON.stringify(made)) };
  } catch (error) {
    const { code = 'INTERNAL_ERROR', details = {} } = error as { code?: string; details?: object };
    return { status: 400, bytes: Buffer.from(JSON.stringify({ code, details, message: String(error), status: 'error' })) };
  }
}
