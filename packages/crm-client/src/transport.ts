import { createWriteStream } from 'node:fs';
import { pipeline } from 'node:stream/promises';

import pRetry from 'p-retry';
import { Agent, type Dispatcher, request } from 'undici';

import type { CrmConfig } from './config.ts';
import { CrmClock, type Observed } from './crm-clock.ts';
import { CrmError, errorOf } from './errors.ts';
import type { TokenSource } from './tokens.ts';

/** One call. */
export type Call = {
  readonly method: 'GET' | 'POST' | 'DELETE' | 'PUT';
  /** From `/crm` on. */
  readonly path: string;
  readonly query?: Readonly<Record<string, string>>;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: unknown;
  /** False for what must not be done twice without asking; true by default. */
  readonly isRepeatable?: boolean;
  readonly signal?: AbortSignal;
};

/** A good answer: 2xx. The text is empty at 204 and 304. */
export type Reply = { readonly status: number; readonly text: string; readonly observed: Observed };

/** What a call cost, for metrics. */
export type CallReport = { readonly call: string; readonly status: number; readonly seconds: number };

const TIMES = { headersTimeout: 60_000, bodyTimeout: 60_000 };

/** Speaks HTTP with the CRM: token, time bounds, errors, retries. */
export class Transport {
  readonly #config: CrmConfig;
  readonly #tokens: TokenSource;
  readonly #clock = new CrmClock();
  readonly #agent = new Agent({ connections: 10, keepAliveTimeout: 10_000 });
  readonly #onCall: (report: CallReport) => void;
  readonly #retries: number;

  constructor({ config, tokens, onCall, retries }: { config: CrmConfig; tokens: TokenSource; onCall: (report: CallReport) => void; retries: number }) {
    this.#config = config;
    this.#tokens = tokens;
    this.#onCall = onCall;
    this.#retries = retries;
  }

  /** @throws {CrmError} */
  call(call: Call): Promise<Reply> {
    return this.#retried(call, () => this.#authorized(call, (token) => this.#attempt(call, token)));
  }

  /**
   * Downloads into a file, replacing it.
   * @returns the CRM times of the whole download.
   */
  download(call: Call, file: string): Promise<Observed> {
    return this.#retried(call, () => this.#authorized(call, (token) => this.#fetchInto(call, token, file)));
  }

  async close(): Promise<void> {
    await this.#agent.destroy();
  }

  async #retried<T>(call: Call, work: () => Promise<T>): Promise<T> {
    if (call.isRepeatable === false) return await work();
    return await pRetry(work, {
      retries: this.#retries,
      minTimeout: 300,
      maxTimeout: 5_000,
      randomize: true,
      shouldRetry: ({ error }) => error instanceof CrmError && error.retryable && call.signal?.aborted !== true,
      ...(call.signal === undefined ? {} : { signal: call.signal }),
    });
  }

  /** A token that is refused is replaced once; a missing scope is not mended by a new token. */
  async #authorized<T>(call: Call, attempt: (token: string) => Promise<T>): Promise<T> {
    const token = await this.#tokens.get();
    try {
      return await attempt(token);
    } catch (error) {
      if (!(error instanceof CrmError) || error.code !== 'CRM_UNAUTHORIZED' || error.crmCode === 'OAUTH_SCOPE_MISMATCH') throw error;
      return await attempt(await this.#tokens.replace(token));
    }
  }

  async #attempt(call: Call, token: string): Promise<Reply> {
    const sentMs = Date.now();
    const { statusCode, headers, body } = await this.#send(call, token);
    const text = await body.text().catch((cause: unknown) => {
      throw new CrmError(`${nameOf(call)}: the answer was cut`, 'CRM_UNREACHABLE', { cause });
    });
    const receivedMs = Date.now();
    this.#clock.learn(sentMs, receivedMs, headerOf(headers, 'date'));
    this.#onCall({ call: nameOf(call), status: statusCode, seconds: (receivedMs - sentMs) / 1000 });
    const isGood = statusCode < 300 || statusCode === 304;
    if (!isGood) throw errorOf(nameOf(call), statusCode, jsonOrNull(text));
    return { status: statusCode, text, observed: this.#clock.between(sentMs, receivedMs) };
  }

  async #fetchInto(call: Call, token: string, file: string): Promise<Observed> {
    const sentMs = Date.now();
    const { statusCode, headers, body } = await this.#send(call, token);
    if (statusCode !== 200) throw errorOf(nameOf(call), statusCode, jsonOrNull(await body.text()));
    this.#clock.learn(sentMs, Date.now(), headerOf(headers, 'date'));
    try {
      await pipeline(body, createWriteStream(file), ...(call.signal === undefined ? [] : [{ signal: call.signal }]));
    } catch (cause) {
      throw new CrmError(`${nameOf(call)}: the download was cut`, 'CRM_UNREACHABLE', { cause });
    }
    const receivedMs = Date.now();
    this.#onCall({ call: nameOf(call), status: statusCode, seconds: (receivedMs - sentMs) / 1000 });
    return this.#clock.between(sentMs, receivedMs);
  }

  async #send({ method, path, query, headers, body, signal, ...rest }: Call, token: string): Promise<Dispatcher.ResponseData> {
    try {
      return await request(`${this.#config.apiUrl}${path}`, {
        method,
        dispatcher: this.#agent,
        headers: { authorization: `Zoho-oauthtoken ${token}`, ...(body === undefined ? {} : { 'content-type': 'application/json' }), ...headers },
        ...(query === undefined ? {} : { query }),
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
        ...(signal === undefined ? {} : { signal }),
        ...TIMES,
      });
    } catch (cause) {
      throw new CrmError(`${nameOf({ method, path, ...rest })}: the CRM gave no answer`, 'CRM_UNREACHABLE', { cause });
    }
  }
}

/** A call's name without ids, so that it can label a metric. */
const nameOf = ({ method, path }: Call): string => `${method} ${path.replaceAll(/\/\d{6,}/g, '/{id}')}`;

const headerOf = (headers: Dispatcher.ResponseData['headers'], name: string): string | null => {
  const value = headers[name];
  return typeof value === 'string' ? value : null;
};

function jsonOrNull(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
