import { createHmac, hash, timingSafeEqual } from 'node:crypto';

/*
 * The CRM signs nothing: it echoes the token a channel was registered with. So the token is an HMAC of the channel's id, which
 * any receiver can verify without asking anybody, and a second secret stands in the path of the URL.
 */

// 43 characters of base64url; the CRM takes tokens of at most 50.
const hmac = (secret: string, text: string): string => createHmac('sha256', secret).update(text).digest('base64url');

/** The token to register a channel with. */
export const channelToken = (secret: string, channelId: string): string => hmac(secret, `channel:${channelId}`);

/** The part of the notify URL that only the CRM and we know. */
export const pathSecret = (secret: string): string => hmac(secret, 'path').slice(0, 32);

/** The path of the URL that notifications of every channel are sent to. */
export const notifyPath = (secret: string): string => `/notifications/${pathSecret(secret)}`;

/** Whether a notification carries its channel's token; compared in constant time. */
export const isChannelToken = (secret: string, channelId: string, token: string): boolean => equal(channelToken(secret, channelId), token);

/** Whether a request came to the secret path; compared in constant time. */
export const isPathSecret = (secret: string, given: string): boolean => equal(pathSecret(secret), given);

/**
 * The channel of a module: always the same id for the same installation, so that enabling it again extends it.
 * @returns up to 18 digits; the CRM wants a positive 64-bit number.
 */
export function channelIdOf(secret: string, module: string): string {
  const digest = hash('sha256', `channel-id:${hmac(secret, module)}`, 'buffer');
  return String(1n + (digest.readBigUInt64BE() % 999_999_999_999_999_999n));
}

// Digests of equal length, so that not even the length of a wrong value shows in the time taken.
const equal = (a: string, b: string): boolean => timingSafeEqual(hash('sha256', a, 'buffer'), hash('sha256', b, 'buffer'));
