import type { Logger } from '@lockstep/telemetry';

import { createCrmClient, type CrmClient, type CrmClientOptions } from './client.ts';
import { CreditMeter, type CreditsSpent } from './credit-meter.ts';
import { type AccessTokenStore, createTokenSource } from './tokens.ts';

export type MeteredClientOptions = Pick<CrmClientOptions, 'config' | 'onCall' | 'stopping' | 'witness'> & {
  /** Where the processes of an installation share their access token. */
  readonly tokenStore: AccessTokenStore;
  /** Writes down what was spent. */
  readonly spend: (spent: CreditsSpent) => Promise<void>;
  readonly log: Logger;
};

/** A process's client: it shares its token with the others, and what its calls cost is written down until it is closed. */
export function createMeteredClient({ config, tokenStore, spend, onCall = () => undefined, log, ...rest }: MeteredClientOptions): CrmClient {
  const meter = new CreditMeter();
  const closing = new AbortController();
  const writing = meter.keepWriting({ write: spend, signal: closing.signal, log });
  const client = createCrmClient({
    ...rest,
    config,
    tokens: createTokenSource({ config, store: tokenStore }),
    onCall: (report) => {
      onCall(report);
      meter.note(report);
    },
  });
  return {
    ...client,
    close: async () => {
      await client.close();
      closing.abort();
      await writing;
    },
  };
}
