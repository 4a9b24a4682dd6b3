import { type Logger, loop } from '@lockstep/telemetry';

import { createCrmClient, type CrmClient, type CrmClientOptions } from './client.ts';
import { CreditBudget, type CreditStore } from './credit-budget.ts';
import { CreditMeter, type CreditsSpent } from './credit-meter.ts';
import { LearnedLimit } from './learned-limit.ts';
import { type AccessTokenStore, createTokenSource } from './tokens.ts';

export type MeteredClientOptions = Pick<CrmClientOptions, 'config' | 'onCall' | 'stopping' | 'witness'> & {
  /** Where the processes of an installation share their access token. */
  readonly tokenStore: AccessTokenStore;
  /** Writes down what was spent. */
  readonly spend: (spent: CreditsSpent) => Promise<void>;
  /** Where the processes of an installation share the budget. */
  readonly creditStore: CreditStore;
  readonly log: Logger;
};

/** A client whose calls are counted and paid. */
export type MeteredClient = CrmClient & { readonly budget: CreditBudget };

const REFRESH_EVERY_MS = 5_000;

/** A process's client: it shares its token and its budget with the others, and what its calls cost is written down until it is closed. */
export function createMeteredClient({ config, tokenStore, spend, creditStore, onCall = () => undefined, log, ...rest }: MeteredClientOptions): MeteredClient {
  const meter = new CreditMeter();
  const closing = new AbortController();
  const budget = new CreditBudget({ store: creditStore, rules: { perDay: config.creditsPerDay, reserve: config.creditsReserve } });
  const writing = meter.keepWriting({ write: spend, signal: closing.signal, log });
  const client = createCrmClient({
    ...rest,
    config,
    budget,
    tokens: createTokenSource({ config, store: tokenStore }),
    onCall: (report) => {
      onCall(report);
      meter.note(report);
    },
  });
  const limit = new LearnedLimit({ client, store: creditStore, log });
  const refreshing = loop({
    name: 'credit budget',
    everyMs: REFRESH_EVERY_MS,
    signal: closing.signal,
    log,
    body: async () => {
      const limits = await budget.refresh();
      if (config.creditsPerDay === null) await limit.learn(limits);
    },
  });
  return {
    ...client,
    budget,
    close: async () => {
      closing.abort();
      await refreshing;
      await client.close();
      await writing;
    },
  };
}
