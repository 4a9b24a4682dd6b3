import { randomBytes } from 'node:crypto';

import type { FastifyInstance, FastifyRequest } from 'fastify';

import type { Clock } from '../clock.ts';
import { ApiError } from '../errors.ts';
import { formFields } from './form.ts';

const TOKEN_LIFE_MS = 3_600_000;
const LIVE_TOKENS = 10;
const WINDOW_MS = 600_000;

type Settings = { readonly clock: Clock; readonly clientId: string; readonly clientSecret: string; readonly refreshToken: string; readonly tokensPerTenMinutes: number };

const throttled = {
  error_description: 'You have made too many requests continuously. Please try again after some time.',
  error: 'Access Denied',
  status: 'failure',
};

/** Access tokens: one hour each, ten alive, ten in ten minutes. */
export class Tokens {
  readonly #settings: Settings;
  #live: { readonly token: string; readonly expiresAtMs: number }[] = [];
  #issuedAtMs: number[] = [];
  readonly counts = { issued: 0, throttled: 0, refused: 0 };

  constructor(settings: Settings) {
    this.#settings = settings;
  }

  /** @returns the code of the vendor's refusal, or undefined when the client and its grant are known. */
  refusal(form: ReadonlyMap<string, string>): string | undefined {
    if (form.get('client_id') !== this.#settings.clientId) return 'invalid_client';
    if (form.get('client_secret') !== this.#settings.clientSecret) return 'invalid_client_secret';
    const grant = form.get('grant_type') === 'authorization_code' ? form.get('code') : form.get('refresh_token');
    return grant === this.#settings.refreshToken ? undefined : 'invalid_code';
  }

  /** @returns a new token, or undefined when too many were requested. The eleventh alive ends the oldest. */
  issue(): string | undefined {
    const { clock, tokensPerTenMinutes } = this.#settings;
    const now = clock.nowMs();
    this.#issuedAtMs = this.#issuedAtMs.filter((at) => at > now - WINDOW_MS);
    if (tokensPerTenMinutes > 0 && this.#issuedAtMs.length >= tokensPerTenMinutes) {
      this.counts.throttled++;
      return undefined;
    }
    this.#issuedAtMs.push(now);
    this.counts.issued++;
    const token = `1000.${randomBytes(16).toString('hex')}.${randomBytes(16).toString('hex')}`;
    this.#live = [...this.#live.filter((t) => t.expiresAtMs > now), { token, expiresAtMs: now + TOKEN_LIFE_MS }].slice(-LIVE_TOKENS);
    return token;
  }

  revoke(token: string): boolean {
    const before = this.#live.length;
    this.#live = this.#live.filter((t) => t.token !== token);
    return this.#live.length < before;
  }

  /** Ends every token: what a revoked consent or a test of the 401 path needs. */
  revokeAll(): void {
    this.#live = [];
  }

  /** @throws {ApiError} 401 for a call without a live token. */
  check(authorization: string | undefined): void {
    const token = /^Zoho-oauthtoken (.+)$/.exec(authorization ?? '')?.[1];
    if (token === undefined) throw new ApiError(401, 'AUTHENTICATION_FAILURE', 'Authentication failed');
    const now = this.#settings.clock.nowMs();
    if (!this.#live.some((t) => t.token === token && t.expiresAtMs > now)) throw new ApiError(401, 'INVALID_TOKEN', 'invalid oauth token');
  }
}

/** `POST /oauth/v2/token` and `/revoke`. Refusals come with status 200, as the vendor's do. */
export function oauthRoutes(app: FastifyInstance, tokens: Tokens, apiDomain: () => string): void {
  app.post('/oauth/v2/token', async (request, reply) => {
    const form = formOf(request);
    const error = tokens.refusal(form);
    if (error !== undefined) {
      tokens.counts.refused++;
      return { error };
    }
    const token = tokens.issue();
    if (token === undefined) return reply.code(400).send(throttled);
    const grant = form.get('grant_type') === 'authorization_code' ? { refresh_token: form.get('code') } : {};
    return { access_token: token, ...grant, expires_in: TOKEN_LIFE_MS / 1000, api_domain: apiDomain(), token_type: 'Bearer' };
  });
  app.post('/oauth/v2/token/revoke', async (request, reply) => {
    if (tokens.revoke(formOf(request).get('token') ?? '')) return { status: 'success' };
    return reply.code(400).type('text/html').send('<html><body>invalid token</body></html>');
  });
}

function formOf(request: FastifyRequest): ReadonlyMap<string, string> {
  const query = request.query as Record<string, string>;
  return new Map([...Object.entries(query), ...formFields(request.headers['content-type'] ?? '', typeof request.body === 'string' ? request.body : '')]);
}
