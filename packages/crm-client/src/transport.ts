import { createWriteStream } from 'node:fs';
import { pipeline } from 'node:stream/promises';

import { realTime, type Time } from '@lockstep/telemetry';
import pRetry from 'p-retry';
import { Agent, type Dispatcher, request } from 'undici';

import type { CrmConfig } from './config.ts';
import type { CreditBudget, Payment } from './credit-budget.ts';
import { type CallPurpose, type CountedAs, creditsOf } from './credits.ts';
import { type ClockReport, CrmClock, type CrmTime, type Moment, momentOf, type Observed, observedBetween } from './crm-clock.ts';
import { DownloadPace } from './download-pace.ts';
import { CrmError, errorOf } from './errors.ts';
import { Gate, notSent } from './gate.ts';
import { replyText } from './json.ts';
import type { Bounds } from './offset-window.ts';
import { RatePause } from './rate-pause.ts';
import type { TokenSource } from './tokens.ts';

/*
 * What a call passes, in this order: the token; the budget of credits; a place among the queries, if it is one; a place among all calls; the pause that
 * a 429 left behind. A download has a pace instead of the pause: the CRM limits downloads by themselves.
 */

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
  /** Further attempts at most, where its caller repeats it by itself. */
  readonly mostRetries?: number;
  /** `other` by default. */
  readonly purpose?: CallPurpose;
  /** Of a query: the most rows it may return; decides its price. */
  readonly maxRows?: number;
  /** The module, where the path does not name it: a call repeats another one if both are of one module. */
  readonly module?: string;
  readonly signal?: AbortSignal;
};

/** A good answer: 2xx. The text is empty at 204 and 304. */
export type Reply = { readonly status: number; readonly text: string; readonly observed: Observed };

/** An attempt that is paid; whether it was sent is noted in it. */
type PaidCall = Call & { readonly payment: Payment | undefined; isSent: boolean };

/** An answer whose headers have come, with our times around them. */
type Answer = { readonly response: Dispatcher.ResponseData; readonly sent: Moment; readonly bounds: Bounds };

/** One attempt, for metrics and the count of credits. */
export type CallReport = {
  readonly call: string;
  /** 0 where no answer came. */
  readonly status: number;
  readonly seconds: number;
  readonly purpose: CallPurpose;
  /** `retry` where it repeated a failed call. */
  readonly countedAs?: CountedAs;
  readonly credits: number;
  /** What the CRM says is left of the organisation's day: null where an answer does not say, undefined without an answer. */
  readonly creditsRemaining?: number | null;
};

export type TransportOptions = {
  readonly config: CrmConfig;
  readonly tokens: TokenSource;
  readonly onCall: (report: CallReport) => void;
  /** Pays each call before it is sent; without it they are free. */
  readonly budget?: Pick<CreditBudget, 'pay' | 'learn'> | undefined;
  /** Further attempts of a repeatable call after a retryable failure. */
  readonly retries: number;
  /** Aborted when the process stops: what waits for its turn is given up. */
  readonly stopping?: AbortSignal;
  readonly time?: Time;
  /** See {@link CrmClock}. */
  readonly witness?: Bounds | undefined;
};

const TIMES = { headersTimeout: 60_000, bodyTimeout: 60_000 };

/** Speaks HTTP with the CRM: token, limits, time bounds, errors, retries. */
export class Transport {
  readonly #config: CrmConfig;
  readonly #tokens: TokenSource;
  readonly #clock: CrmClock;
  readonly #agent = new Agent({ connections: 10, keepAliveTimeout: 10_000 });
  readonly #onCall: (report: CallReport) => void;
  readonly #budget: TransportOptions['budget'];
  readonly #retries: number;
  readonly #stopping: AbortSignal;
  readonly #time: Time;
  readonly #calls: Gate;
  readonly #queries: Gate;
  readonly #pause: RatePause;
  readonly #downloads: DownloadPace;

  constructor({ config, tokens, onCall, budget, retries, stopping = new AbortController().signal, time = realTime, witness }: TransportOptions) {
    this.#clock = new CrmClock(witness);
    this.#config = config;
    this.#tokens = tokens;
    this.#onCall = onCall;
    this.#budget = budget;
    this.#retries = retries;
    this.#stopping = stopping;
    this.#time = time;
    this.#calls = new Gate(config.maxInFlight);
    this.#queries = new Gate(config.maxQueriesInFlight);
    this.#pause = new RatePause(time);
    this.#downloads = new DownloadPace(config.downloadsPerMinute);
  }

  /** What time it is in the CRM, as far as its replies and our clocks agree. */
  time(): CrmTime {
    return this.#clock.time(momentOf(this.#time));
  }

  /** What our clocks and the CRM's replies say of each other. */
  clock(): ClockReport {
    return this.#clock.report(momentOf(this.#time));
  }

  /** @throws {CrmError} */
  call(call: Call): Promise<Reply> {
    return this.#retried(call, () => this.#authorized(call, (token) => this.#paid(call, (paid) => this.#inTurn(call, () => this.#attempt(paid, token)))));
  }

  /**
   * Downloads into a file, replacing it. Waits while as many were begun in the last minute as the CRM allows.
   * @returns the CRM times of the whole download.
   */
  download(call: Call, file: string): Promise<Observed> {
    return this.#retried(call, async () => {
      await this.#downloadDue(call);
      return await this.#authorized(call, (token) => this.#paid(call, (paid) => this.#inPlace(call, () => this.#fetchInto(paid, token, file))));
    });
  }

  async close(): Promise<void> {
    await this.#agent.destroy();
  }

  /** An attempt that cannot be paid leaves the failure of the one before it. */
  async #retried<T>(call: Call, work: () => Promise<T>): Promise<T> {
    if (call.isRepeatable === false) return await work();
    let failure: unknown;
    return await pRetry(work, {
      retries: Math.min(this.#retries, call.mostRetries ?? Number.POSITIVE_INFINITY),
      minTimeout: 300,
      maxTimeout: 5_000,
      randomize: true,
      shouldRetry: ({ error }) => {
        const isSpent = error instanceof CrmError && error.code === 'CRM_BUDGET_SPENT';
        if (!isSpent) failure = error;
        return error instanceof CrmError && error.retryable && !isSpent && !this.#pause.isLong && !this.#signalsOf(call).some(({ aborted }) => aborted);
      },
      ...(call.signal === undefined ? {} : { signal: call.signal }),
    }).catch((error: unknown) => {
      if (call.signal?.aborted === true && !(error instanceof CrmError)) throw notSent('it was given up', { cause: error });
      throw error instanceof CrmError && error.code === 'CRM_BUDGET_SPENT' ? (failure ?? error) : error;
    });
  }

  /** A token that is refused is replaced once; a missing scope is not fixed by a new token. */
  async #authorized<T>(call: Call, attempt: (token: string) => Promise<T>): Promise<T> {
    const token = await this.#tokens.get();
    try {
      return await attempt(token);
    } catch (error) {
      if (!(error instanceof CrmError) || error.code !== 'CRM_UNAUTHORIZED' || error.crmCode === 'OAUTH_SCOPE_MISMATCH') throw error;
      return await attempt(await this.#tokens.replace(token));
    }
  }

  /** Pays an attempt, and takes the payment back where it was not sent. */
  async #paid<T>(call: Call, attempt: (call: PaidCall) => Promise<T>): Promise<T> {
    const { purpose = 'other' } = call;
    const payment = await this.#budget?.pay({ purpose, credits: creditsOf(call), kind: `${purpose} ${nameOf(call)} ${call.module ?? ''}`, signals: this.#signalsOf(call) });
    const paid: PaidCall = { ...call, payment, isSent: false };
    try {
      const result = await attempt(paid);
      payment?.answered();
      return result;
    } catch (error) {
      if (paid.isSent) payment?.failed();
      else await payment?.refund();
      throw error;
    }
  }

  async #inTurn<T>(call: Call, work: () => Promise<T>): Promise<T> {
    return await this.#inPlace(call, async () => {
      await this.#pause.pass(this.#signalsOf(call));
      const sentAt = this.#time.elapsed();
      try {
        const result = await work();
        this.#pause.answered(sentAt);
        return result;
      } catch (error) {
        this.#learn(error, sentAt);
        throw error;
      }
    });
  }

  #learn(error: unknown, sentAt: number): void {
    const code = error instanceof CrmError ? error.code : 'CRM_UNREACHABLE';
    if (code === 'CRM_RATE_LIMITED') this.#pause.refused(sentAt);
    else if (code === 'CRM_UNREACHABLE') this.#pause.unanswered(sentAt);
    else this.#pause.answered(sentAt);
  }

  /** A query waits for its place among the queries first: it takes no other place while it waits. */
  async #inPlace<T>(call: Call, work: () => Promise<T>): Promise<T> {
    const signals = this.#signalsOf(call);
    const leaveQueries = call.path.endsWith('/coql') ? await this.#queries.enter(signals) : () => undefined;
    try {
      const leave = await this.#calls.enter(signals);
      try {
        return await work();
      } finally {
        leave();
      }
    } finally {
      leaveQueries();
    }
  }

  async #downloadDue(call: Call): Promise<void> {
    const signals = this.#signalsOf(call);
    for (let waitMs = this.#downloads.waitMs(this.#time.elapsed()); waitMs > 0; waitMs = this.#downloads.waitMs(this.#time.elapsed())) {
      if (signals.some(({ aborted }) => aborted)) throw notSent('it was given up while it waited for its minute');
      await this.#time.sleep(waitMs, AbortSignal.any(signals));
    }
    this.#downloads.begin(this.#time.elapsed());
  }

  #signalsOf({ signal }: Call): AbortSignal[] {
    return signal === undefined ? [this.#stopping] : [this.#stopping, signal];
  }

  async #attempt(call: PaidCall, token: string): Promise<Reply> {
    const answer = await this.#send(call, token);
    const { statusCode, body } = answer.response;
    const bytes = await body.bytes().catch((cause: unknown) => {
      throw this.#unanswered(call, answer.sent, 'the answer was cut', cause);
    });
    const observed = this.#answered(call, answer);
    const isGood = statusCode < 300 || statusCode === 304;
    if (!isGood) throw errorOf(nameOf(call), statusCode, jsonOrNull(Buffer.from(bytes).toString()));
    return { status: statusCode, text: replyText(nameOf(call), bytes), observed };
  }

  async #fetchInto(call: PaidCall, token: string, file: string): Promise<Observed> {
    const answer = await this.#send(call, token);
    const { statusCode, body } = answer.response;
    if (statusCode !== 200) {
      const text = await body.text().catch(() => '');
      this.#answered(call, answer);
      const error = errorOf(nameOf(call), statusCode, jsonOrNull(text));
      if (error.code === 'CRM_RATE_LIMITED') this.#downloads.refused(this.#time.elapsed());
      throw error;
    }
    try {
      await pipeline(body, createWriteStream(file), ...(call.signal === undefined ? [] : [{ signal: call.signal }]));
    } catch (cause) {
      throw this.#unanswered(call, answer.sent, 'the download was cut', cause);
    }
    return this.#answered(call, answer);
  }

  async #send(call: PaidCall, token: string): Promise<Answer> {
    const { method, path, query, headers, body, signal } = call;
    const sent = momentOf(this.#time);
    call.isSent = true;
    try {
      const response = await request(`${this.#config.apiUrl}${path}`, {
        method,
        dispatcher: this.#agent,
        headers: { authorization: `Zoho-oauthtoken ${token}`, ...(body === undefined ? {} : { 'content-type': 'application/json' }), ...headers },
        ...(query === undefined ? {} : { query }),
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
        ...(signal === undefined ? {} : { signal }),
        ...TIMES,
      });
      return { response, sent, bounds: this.#learnTime(sent, response) };
    } catch (cause) {
      throw this.#unanswered(call, sent, 'the CRM gave no answer', cause);
    }
  }

  /** As soon as the headers are there: a body may take minutes. */
  #learnTime(sent: Moment, { headers }: Dispatcher.ResponseData): Bounds {
    return this.#clock.learn(sent, momentOf(this.#time), headerOf(headers, 'date'));
  }

  /** @returns the CRM times between which it was answered. */
  #answered(call: PaidCall, { response: { statusCode, headers }, sent, bounds }: Answer): Observed {
    const remaining = Number(headerOf(headers, 'x-api-credits-remaining') ?? Number.NaN);
    const creditsRemaining = Number.isNaN(remaining) ? null : remaining;
    this.#budget?.learn(creditsRemaining);
    this.#report(call, sent, { status: statusCode, creditsRemaining });
    return observedBetween(sent, momentOf(this.#time), bounds);
  }

  #unanswered(call: PaidCall, sent: Moment, what: string, cause: unknown): CrmError {
    this.#report(call, sent, { status: 0 });
    return new CrmError(`${nameOf(call)}: ${what}`, 'CRM_UNREACHABLE', { cause });
  }

  #report(call: PaidCall, { elapsedMs }: Moment, outcome: Pick<CallReport, 'status' | 'creditsRemaining'>): void {
    this.#onCall({ call: nameOf(call), seconds: (this.#time.elapsed() - elapsedMs) / 1000, purpose: call.purpose ?? 'other', ...(call.payment?.isRetry === true && { countedAs: 'retry' as const }), credits: creditsOf(call), ...outcome });
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
