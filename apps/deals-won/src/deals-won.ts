import { type ConsumedChange, type ConsumerOptions, httpSend } from '@lockstep/consumer';
import { deals } from '@lockstep/modules';

import type { Config } from './config.ts';

/** Names the consumer's schema and group. */
export const NAME = 'deals-won';

/** What the invoicing application is sent, as JSON. Numbers and ids are texts: both exceed a double. */
export type WonDeal = {
  readonly event: 'deal.won';
  /** The same whenever it is sent again: drop what was seen before. */
  readonly idempotencyKey: string;
  readonly dealId: string;
  readonly name: string | null;
  readonly amount: string | null;
  readonly currency: string | null;
  readonly accountId: string | null;
  readonly closingDate: string | null;
  /** `Modified_Time` of the content that is won first, ISO 8601 in UTC. */
  readonly wonAt: string;
};

/** The deal that a change has won: it is in the stage now, and was not before. Undefined for any other change. */
export function wonBy({ before, after, id, modifiedAt, idempotencyKey }: ConsumedChange, stage: string): WonDeal | undefined {
  if (after?.['Stage'] !== stage || before?.['Stage'] === stage) return undefined;
  const text = (field: string): string | null => {
    const value = after[field] ?? null;
    return value === null ? null : String(value);
  };
  return {
    event: 'deal.won', idempotencyKey, dealId: id, name: text('Deal_Name'), amount: text('Amount'), currency: text('Currency'),
    accountId: text('Account_Name'), closingDate: text('Closing_Date'), wonAt: modifiedAt.toISOString(),
  };
}

/** The whole consumer, as its process runs it. */
export const dealsWon = ({ consumer, stage, target }: Config): ConsumerOptions => ({
  config: consumer,
  definition: { name: NAME, modules: [deals], deliveryOf: (change) => wonBy(change, stage) },
  delivering: 'file' in target ? target : { send: httpSend(target) },
});
