import { realTime, type Time } from '@lockstep/telemetry';
import { request } from 'undici';
import { z } from 'zod';

import type { CrmConfig } from './config.ts';
import { dataCentreOf, originOf } from './data-centres.ts';
import { CrmError } from './errors.ts';

/** A token and how long it still lives. A span, because its store has a clock of its own. */
export type AccessToken = { readonly token: string; readonly livesMs: number; readonly apiDomain?: string };

/** What is seen and done while no other process asks for a token. */
export type TokenTurn = {
  readonly current: AccessToken | undefined;
  /** How long ago each of the latest tokens was requested, whether it was granted or not. */
  readonly askedAgoMs: readonly number[];
  /** Notes that one is requested now, before it is: a refusal counts too, and so does an answer that the process did not live to see. */
  readonly asking: () => Promise<void>;
  readonly write: (token: AccessToken) => Promise<void>;
};

/** Where all processes of an installation share their token; ten in ten minutes is all the CRM gives. */
export interface AccessTokenStore {
  read(): Promise<AccessToken | undefined>;
  /** Runs the work while no other process asks for a token. */
  exclusively<T>(work: (turn: TokenTurn) => Promise<T>): Promise<T>;
}

/** Hands out the access token. */
export interface TokenSource {
  get(): Promise<string>;
  /** A new token, unless another process has replaced the refused one already. */
  replace(refused: string): Promise<string>;
}

const REFRESH_BEFORE_MS = 5 * 60_000;
/** Tokens live an hour. A longer life than a day is a reply in other units, and would keep a dead token. */
const LIVES_AT_MOST_MS = 24 * 3_600_000;
/** Two of the ten are left to other users of the refresh token. */
const MAX_ASKED = 8;
const ASKED_WINDOW_MS = 10 * 60_000;

/** Tokens kept in the store and in this process's memory; refreshed five minutes before they end. */
export function createTokenSource({ config, store, time = realTime }: { config: CrmConfig; store: AccessTokenStore; time?: Pick<Time, 'elapsed'> }): TokenSource {
  let known: { readonly token: AccessToken; readonly receivedAt: number } | undefined;
  let refreshing: Promise<string> | undefined;
  let lastFailure: unknown;
  const isGood = (token: AccessToken | undefined, receivedAt = time.elapsed()): token is AccessToken =>
    token !== undefined && token.livesMs - (time.elapsed() - receivedAt) > REFRESH_BEFORE_MS && isFor(config, token);
  const keep = (token: AccessToken, receivedAt: number): string => {
    known = { token, receivedAt };
    return token.token;
  };
  const asked = async (turn: TokenTurn): Promise<AccessToken> => {
    keepWithinLimit(turn.askedAgoMs, lastFailure);
    await turn.asking();
    try {
      const next = await refreshedToken(config);
      await turn.write(next);
      return next;
    } catch (error) {
      lastFailure = error;
      throw error;
    }
  };
  const refresh = (refused: string | null): Promise<string> => {
    refreshing ??= store
      .exclusively(async (turn) => (turn.current?.token !== refused && isGood(turn.current) ? turn.current : await asked(turn)))
      .then((token) => keep(token, time.elapsed()))
      .finally(() => {
        refreshing = undefined;
      });
    return refreshing;
  };
  return {
    get: async () => {
      if (known !== undefined && isGood(known.token, known.receivedAt)) return known.token.token;
      const askedAt = time.elapsed();
      const stored = await store.read();
      return isGood(stored, askedAt) ? keep(stored, askedAt) : await refresh(null);
    },
    replace: (refused) => refresh(refused),
  };
}

/** A store of this process alone; for tools and tests. */
export function memoryTokenStore(time: Pick<Time, 'elapsed'> = realTime): AccessTokenStore {
  let kept: { readonly token: AccessToken; readonly writtenAt: number } | undefined;
  let askedAt: readonly number[] = [];
  let last: Promise<unknown> = Promise.resolve();
  const now = (): number => time.elapsed();
  const current = (): AccessToken | undefined => kept && { ...kept.token, livesMs: kept.token.livesMs - (now() - kept.writtenAt) };
  const turn = (): TokenTurn => ({
    current: current(),
    askedAgoMs: askedAt.map((at) => now() - at),
    asking: async () => void (askedAt = [now(), ...askedAt].slice(0, 10)),
    write: async (token) => void (kept = { token, writtenAt: now() }),
  });
  return {
    read: async () => current(),
    exclusively: async (work) => {
      const mine = last.then(() => work(turn()));
      last = mine.catch(() => undefined);
      return await mine;
    },
  };
}

function keepWithinLimit(askedAgoMs: readonly number[], cause: unknown): void {
  // A request that seems to lie in the future was made before the store's clock was set back: when is unknown.
  const recent = askedAgoMs.filter((ms) => ms >= 0 && ms < ASKED_WINDOW_MS);
  if (recent.length < MAX_ASKED) return;
  const last = cause instanceof Error ? `; the last time: ${cause.message}` : '';
  throw new CrmError(`an access token was requested ${recent.length} times in ten minutes, and the CRM allows ten${last}`, 'CRM_RATE_LIMITED', { cause });
}

/** Whether a token is for the API that it would be sent to, or one of the same data centre. */
function isFor({ apiUrl, dataCentre }: CrmConfig, { apiDomain }: Pick<AccessToken, 'apiDomain'>): boolean {
  return apiDomain === undefined || originOf(apiDomain) === originOf(apiUrl) || dataCentreOf(apiDomain) === dataCentre;
}

const reply = z.object({
  access_token: z.string().min(1),
  // Some accounts name seconds `expires_in_sec`; then `expires_in` is in milliseconds.
  expires_in_sec: z.coerce.number().positive().optional(),
  expires_in: z.coerce.number().positive().optional(),
  api_domain: z.string().optional(),
});

async function refreshedToken(config: CrmConfig): Promise<AccessToken> {
  const { accountsUrl, clientId, clientSecret, refreshToken } = config;
  const form = new URLSearchParams({ grant_type: 'refresh_token', client_id: clientId, client_secret: clientSecret, refresh_token: refreshToken });
  const { statusCode, text } = await request(`${accountsUrl}/oauth/v2/token`, {
    method: 'POST',
    body: form.toString(),
    headers: { 'content-type': 'application/x-www-form-urlencoded' },
    headersTimeout: 15_000,
    bodyTimeout: 15_000,
  })
    .then(async (answer) => ({ statusCode: answer.statusCode, text: await answer.body.text() }))
    .catch((cause: unknown) => {
      throw new CrmError('the accounts server gave no answer', 'CRM_UNREACHABLE', { cause });
    });
  const given = reply.safeParse(jsonOf(text));
  if (given.success) {
    const { access_token: token, expires_in_sec, expires_in = 3600, api_domain: apiDomain } = given.data;
    const next: AccessToken = { token, livesMs: Math.min((expires_in_sec ?? expires_in) * 1000, LIVES_AT_MOST_MS), ...(apiDomain === undefined ? {} : { apiDomain }) };
    if (isFor(config, next)) return next;
    throw wrongDataCentre(config, apiDomain ?? '');
  }
  throw refusal(statusCode, text);
}

function wrongDataCentre({ apiUrl, dataCentre }: CrmConfig, apiDomain: string): CrmError {
  const right = dataCentreOf(apiDomain);
  const advice = right === undefined ? 'it is none of the CRM\'s that are known, and nothing is sent there' : `set CRM_DATA_CENTRE=${right}`;
  return new CrmError(`the organisation's API is ${apiDomain}, and the one that is configured is ${apiUrl} (CRM_DATA_CENTRE ${dataCentre}): ${advice}`, 'CRM_WRONG_DATA_CENTRE');
}

/** Errors often come with status 200; the body decides. */
function refusal(status: number, text: string): CrmError {
  const body = jsonOf(text);
  const { error = '', error_description: description = '' } = (body ?? {}) as { error?: string; error_description?: string };
  if (/too many requests/i.test(description) || status === 429) return new CrmError('the accounts server refuses more tokens for some minutes', 'CRM_RATE_LIMITED', { crmCode: error });
  if (status >= 500 || body === undefined) return new CrmError(`the accounts server answered ${status} with ${body === undefined ? 'no JSON' : 'an error'}`, 'CRM_UNAVAILABLE');
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
