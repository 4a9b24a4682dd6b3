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
/** So much of a reply is read, and for so long: a connection whose reply is read to its end is used again. */
const [MOST_BYTES_OF_REPLY, MOST_MS_OF_REPLY] = [65_536, 1_000];

/**
 * Sends each delivery by POST, as JSON. The receiver accepts it with a status from 200 to 299, whatever becomes of the rest of its reply; redirects are not followed. Headers:
 * `Idempotency-Key`, `Lockstep-Timestamp` (whole seconds since 1970) and `Lockstep-Signature`, see {@link signatureOf}.
 */
export function httpSend({ url, secret, now = Date.now }: HttpSendOptions): Send {
  return async ({ body, idempotencyKey }, signal) => {
    const timestamp = String(Math.floor(now() / 1000));
    const headers = { 'content-type': 'application/json', 'idempotency-key': idempotencyKey, 'lockstep-timestamp': timestamp, 'lockstep-signature': signatureOf(secret, timestamp, body) };
    const reply = await fetch(url, { method: 'POST', body, headers, signal, redirect: 'manual' });
    const text = await beginningOf(reply.body);
    if (!reply.ok) throw new Error(`the receiver answered ${reply.status}: ${text.slice(0, KEPT_OF_REPLY)}`);
  };
}

/** What comes of a reply's body, up to a size and a time. */
async function beginningOf(body: Response['body']): Promise<string> {
  if (body === null) return '';
  const reader = body.getReader();
  const giveUp = (): void => void reader.cancel().catch(() => undefined);
  const timer = setTimeout(giveUp, MOST_MS_OF_REPLY);
  let bytes = Buffer.alloc(0);
  try {
    for (let next = await reader.read(); !next.done; next = await reader.read()) {
      bytes = Buffer.concat([bytes, next.value]);
      if (bytes.length > MOST_BYTES_OF_REPLY) giveUp();
    }
  } catch {
    // The status has come: it says whether the delivery was accepted.
  } finally {
    clearTimeout(timer);
  }
  return bytes.toString();
}

/** `v1=` and the HMAC-SHA256 of timestamp, a point and body, in hex. */
export const signatureOf = (secret: string, timestamp: string, body: string): string => `v1=${createHmac('sha256', secret).update(`${timestamp}.${body}`).digest('hex')}`;

/** What a receiver checks: that the body is ours, and not older than so many seconds. For receivers and tests. */
export function isSignedBy(secret: string, { timestamp, signature, body }: { readonly timestamp: string; readonly signature: string; readonly body: string }, { nowMs, maxAgeSeconds = 300 }: { readonly nowMs: number; readonly maxAgeSeconds?: number }): boolean {
  const [given, right] = [Buffer.from(signature), Buffer.from(signatureOf(secret, timestamp, body))];
  return given.length === right.length && timingSafeEqual(given, right) && Math.abs(nowMs / 1000 - Number(timestamp)) <= maxAgeSeconds;
}
