import type { CrmClient } from '@lockstep/crm-client';
import type { Producer } from '@lockstep/kafka';
import { type ModuleDefinition, topicOf } from '@lockstep/modules';
import type { DeletionBreaker, Referrers, RegisterEntry, RegisterReader, WantedLooks } from '@lockstep/postgres';
import { instantMs, isAliveBy, isSettledBy } from '@lockstep/record-log';
import type { Logger } from '@lockstep/telemetry';

import type { ReaderMetrics } from './metrics.ts';
import { deletedMessage } from './record-publisher.ts';

export type DeletedListDeps = {
  readonly crm: Pick<CrmClient, 'deletedSince'>;
  readonly producer: Pick<Producer, 'send'>;
  readonly register: Pick<RegisterReader, 'known' | 'parkedDeletions'>;
  readonly breaker: Pick<DeletionBreaker, 'admits'>;
  readonly referrers: Referrers;
  readonly looks: Pick<WantedLooks, 'want'>;
  readonly metrics: ReaderMetrics;
  readonly epsilonMs: number;
  readonly log: Logger;
};

/** What the list said. */
export type DeletedListRead = {
  readonly listed: ReadonlySet<string>;
  /** Deletions that the register did not have. */
  readonly published: number;
  /** Records whose deletion is in doubt no more: published again, with the time of this reading. */
  readonly ascertained: ReadonlySet<string>;
  /** The list said more than is believed without a person's word, and nothing was published. */
  readonly isHeld: boolean;
};

/**
 * Reads the list of deleted records since a time, the only source of deletions, and publishes those that neither the register
 * has nor are parked, and again those that are in doubt and were read late enough to end it. Returns once Kafka has all of them, and looks are
 * wanted at the records that point to the newly deleted: a merge deletes one record and lets them point to another, and need not move their
 * `Modified_Time`.
 */
export async function readDeletedList({ crm, producer, register, breaker, referrers, looks, metrics, epsilonMs, log }: DeletedListDeps, module: ModuleDefinition, since: Date): Promise<DeletedListRead> {
  const { apiName } = module;
  const { deletions, observed } = await crm.deletedSince(apiName, since);
  const all = deletions.map(({ id, deletedTime }): Listing => ({ id, deletedMs: instantMs(deletedTime), listedMs: observed.lowerMs }));
  const listed = new Set(all.map(({ id }) => id));
  const [known, parked] = await Promise.all([register.known(apiName, [...listed]), register.parkedDeletions(apiName, [...listed])]);
  // Both keep the upper bound of the whole second. What is parked is in the log: a removal that waits is not published at each scan.
  const knownMs = (id: string): number => Math.max(known.get(id)?.deletedMs ?? Number.NEGATIVE_INFINITY, parked.get(id) ?? Number.NEGATIVE_INFINITY);
  const fresh = all.filter(({ id, deletedMs }) => knownMs(id) < deletedMs);
  const removed = new Set(fresh.map(({ id }) => id).filter((id) => (known.get(id)?.modifiedMs ?? null) !== null));
  if (!(await breaker.admits(apiName, removed.size))) {
    log.error({ module: apiName, deletions: removed.size }, 'deletions are held: more than are believed without a person; see "lockstep release"');
    return { listed, published: 0, ascertained: new Set(), isHeld: true };
  }
  // Before they are published: once the register has a deletion, nobody comes back to it.
  for (const referring of await referrers.to(apiName, fresh.map(({ id }) => id))) await looks.want(referring.module, referring.ids, 'referrer');
  const ascertained = all.filter((listing) => endsDoubt(listing, known.get(listing.id), epsilonMs));
  const messages = [...fresh, ...ascertained].map((listing) => deletedMessage(module, listing));
  if (messages.length > 0) await producer.send(topicOf(module), messages, { timeoutMs: 30_000 });
  metrics.deletions.inc({ module: apiName }, fresh.length);
  return { listed, published: fresh.length, ascertained: new Set(ascertained.map(({ id }) => id)), isHeld: false };
}

/** An entry of the list; `listedMs` is not later than the beginning of the call. */
type Listing = { readonly id: string; readonly deletedMs: number; readonly listedMs: number };

/** Whether the register holds this very deletion, in doubt, and the list was read later than any look before it can lag. */
function endsDoubt({ deletedMs, listedMs }: Listing, known: RegisterEntry | undefined, epsilonMs: number): boolean {
  if (known === undefined || known.deletedMs === null || isAliveBy(known, epsilonMs) || isSettledBy(known, epsilonMs)) return false;
  return known.deletedMs >= deletedMs && known.deletedMs <= deletedMs + 999 && listedMs > known.deletedMs + epsilonMs;
}
