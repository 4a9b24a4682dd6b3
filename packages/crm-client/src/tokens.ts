import { request } from 'undici';
import { z } from 'zod';

import type { CrmConfig } from './config.ts';
import { CrmError } from './errors.ts';

/** A token and when it ends. */
export type AccessToken = { readonly token: string; readonly expiresAt: Date; readonly apiDomain?: string; readonly refreshedAt?: readonly Date[] };

/** Where all processes of an installation share their token; ten refreshes in ten minutes is all the CRM gives. */
export interface AccessTokenStore {
  read(): Promise<AccessToken | undefined>;
  /** Runs the work while no other process refreshes. */
  exclusively<T>(work: (current: AccessToken | undefined, write: (token: AccessToken) => Promise<void>) => Promise<T>): Promise<T>;
}

/** Hands out the access token. */
export interface TokenSource {
  get(): Promise<string>;
  /** A new token, unless somebody else has replaced the refused one already. */
  replace(refused: string): Promise<string>;
}

const REFRESH_BEFORE_MS = 5 * 60_000;
const MAX_REFRESHES = 8;
const REFRESH_WINDOW_MS = 10 * 60_000;

/** Tokens kept in the store and in this process's memory; refreshed five minutes before they end. */
export function createTokenSource({ config, store }: { config: CrmConfig; store: AccessTokenStore }): TokenSource {
  let known: AccessToken | undefined;
  let refreshing: Promise<string> | undefined;
  const refresh = (refused: string | null): Promise<string> => {
    refreshing ??= store
      .exclusively(async (current, write) => {
        if (current !== undefined && current.token !== refused && isFresh(current)) return current;
        keepWithinLimit(current?.refreshedAt ?? []);
        const next = await refreshedToken(config);
        await write(next);
        return next;
      })
      .then((token) => {
        known = token;
        return token.token;
      })
      .finally(() => {
        refreshing = undefined;
      });
    return refreshing;
  };
  return {
    get: async () => {
      if (!isFresh(known)) known = await store.read();
      return isFresh(known) ? known.token : await refresh(null);
    },
    replace: (refused) => refresh(refused),
  };
}

/** A store of this process alone; for tools and tests. */
export function memoryTokenStore(): AccessTokenStore {
  let token: AccessToken | undefined;
  let last: Promise<unknown> = Promise.resolve();
  return {
    read: async () => token,
    exclusively: async (work) => {
      const mine = last.then(() => work(token, async (next) => void (token = next)));
      last = mine.catch(() => undefined);
      return await mine;
    },
  };
}

const isFresh = (token: AccessToken | undefined): token is AccessToken => token !== undefined && token.expiresAt.getTime() - Date.now() > REFRESH_BEFORE_MS;

function keepWithinLimit(refreshedAt: readonly Date[]): void {
  const recent = refreshedAt.filter((at) => Date.now() - at.getTime() < REFRESH_WINDOW_MS);
  if (recent.length < MAX_REFRESHES) return;
  throw new CrmError(`the access token was refreshed ${recent.length} times in ten minutes; the CRM allows ten. Waiting`, 'CRM_RATE_LIMITED');
}

const reply = z.object({
  access_token: z.string().min(1),
  // Some accounts name seconds `expires_in_sec`; then `expires_in` is in milliseconds.
  expires_in_sec: z.coerce.number().positive().optional(),
  expires_in: z.coerce.number().positive().optional(),
  api_domain: z.string().optional(),
});

async function refreshedToken({ accountsUrl, clientId, clientSecret, refreshToken }: CrmConfig): Promise<AccessToken> {
  const form = new URLSearchParams({ grant_type: 'refresh_token', client_id: clientId, client_secret: clientSecret, refresh_token: refreshToken });
  const { statusCode, body } = await request(`${accountsUrl}/oauth/v2/token`, {
    method: 'POST',
    body: form.toString(),
    headers: { 'content-type': 'application/x-www-form-urlencoded' },
    headersTimeout: 15_000,
    bodyTimeout: 15_000,
  }).catch((cause: unknown) => {
    throw new CrmError('the accounts server gave no answer', 'CRM_UNREACHABLE', { cause });
  });
  const text = await body.text();
  const given = reply.safeParse(jsonOf(text));
  if (given.success) {
    const { access_token: token, expires_in_sec, expires_in = 3600, api_domain: apiDomain } = given.data;
    return { token, expiresAt: new Date(Date.now() + (expires_in_sec ?? expires_in) * 1000), ...(apiDomain === undefined ? {} : { apiDomain }) };
  }
  throw refusal(statusCode, text);
}

/** Errors often come with status 200; the body decides. */
function refusal(status: number, text: string): CrmError {
  const { error = '', error_description: description = '' } = (jsonOf(text) ?? {}) as { error?: string; error_description?: string };
  if (/too many requests/i.test(description) || status === 429) return new CrmError('the accounts server refuses more tokens for some minutes', 'CRM_RATE_LIMITED', { crmCode: error });
  if (status >= 500) return new CrmError(`the accounts server answered ${status}`, 'CRM_UNAVAILABLE');
  return new CrmError(
    `the accounts server gave no token: "${error || status}". Check CRM_CLIENT_ID, CRM_CLIENT_SECRET, CRM_REFRESH_TOKEN and that CRM_DATA_CENTRE is the organisation's`,
    'CRM_UNAUTHORIZED',
    { crmCode: error },
  );
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
