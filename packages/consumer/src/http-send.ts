import { createHmac, timingSafeEqual } from 'node:crypto';

import type { Send } from './sender.ts';

export type HttpSendOptions = {
  readonly url: string;
  /** Shared with the receiver. */
  readonly secret: string;
  /** Epoch milliseconds; the machine's clock by default. */
  readonly now?: () => number;
};

const KEPT_OF_REPLY = 200;

/**
 * Sends each delivery by POST, as JSON. The receiver accepts it with a status from 200 to 299; redirects are not followed. Headers:
 * `Idempotency-Key`, `Lockstep-Timestamp` (whole seconds since 1970) and `Lockstep-Signature`, see {@link signatureOf}.
 */
export function httpSend({ url, secret, now = Date.now }: HttpSendOptions): Send {
  return async ({ body, idempotencyKey }, signal) => {
    const timestamp = String(Math.floor(now() / 1000));
    const headers = { 'content-type': 'application/json', 'idempotency-key': idempotencyKey, 'lockstep-timestamp': timestamp, 'lockstep-signature': signatureOf(secret, timestamp, body) };
    const reply = await fetch(url, { method: 'POST', body, headers, signal, redirect: 'manual' });
    const text = await reply.text();
    if (!reply.ok) throw new Error(`the receiver answered ${reply.status}: ${text.slice(0, KEPT_OF_REPLY)}`);
  };
}

/** `v1=` and the HMAC-SHA256 of timestamp, a point and body, in hex. */
export const signatureOf = (secret: string, timestamp: string, body: string): string => `v1=${createHmac('sha256', secret).update(`${timestamp}.${body}`).digest('hex')}`;

/** What a receiver checks: that the body is ours, and not older than so many seconds. For receivers and tests. */
export function isSignedBy(secret: string, { timestamp, signature, body }: { readonly timestamp: string; readonly signature: string; readonly body: string }, { nowMs, maxAgeSeconds = 300 }: { readonly nowMs: number; readonly maxAgeSeconds?: number }): boolean {
  const [given, right] = [Buffer.from(signature), Buffer.from(signatureOf(secret, timestamp, body))];
  return given.length === right.length && timingSafeEqual(given, right) && Math.abs(nowMs / 1000 - Number(timestamp)) <= maxAgeSeconds;
}
