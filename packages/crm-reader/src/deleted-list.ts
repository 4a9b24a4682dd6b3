import { STALE_AT_MOST_MS } from '@lockstep/completeness';
import type { CallPurpose, CrmClient, DeletedRecord } from '@lockstep/crm-client';
import type { Producer } from '@lockstep/kafka';
import { type ModuleDefinition, topicOf } from '@lockstep/modules';
import type { DeletionBreaker, ParkedEntry, Referrers, RegisterEntry, RegisterReader, WantedLooks } from '@lockstep/postgres';
import { instantMs, isAliveBy, isRecordId, isSettledBy } from '@lockstep/record-log';
import type { Logger } from '@lockstep/telemetry';

import type { DeadLetter, DeadLetters } from './dead-letters.ts';
import type { ReaderMetrics } from './metrics.ts';
import { deletedMessage } from './record-publisher.ts';
import { timeOf } from './sighting.ts';

export type DeletedListDeps = {
  readonly crm: Pick<CrmClient, 'deletedSince' | 'time'>;
  readonly producer: Pick<Producer, 'send'>;
  readonly register: Pick<RegisterReader, 'known' | 'parked'>;
  readonly breaker: Pick<DeletionBreaker, 'admits'>;
  readonly referrers: Referrers;
  readonly looks: Pick<WantedLooks, 'want'>;
  readonly deadLetters: DeadLetters;
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
 * @param reading its name in the log, e.g. `catch-up 17`, and what its calls count as.
 */
export async function readDeletedList({ crm, producer, register, breaker, referrers, looks, deadLetters, metrics, epsilonMs, log }: DeletedListDeps, module: ModuleDefinition, since: Date, reading: { readonly name: string; readonly purpose: CallPurpose }): Promise<DeletedListRead> {
  const { apiName } = module;
  const { deletions: entries, observed } = await crm.deletedSince(apiName, since, reading.purpose);
  const deletions = entries.filter((entry) => faultOf(entry) === null);
  await deadLetters.put(entries.flatMap((entry) => unreadableOf(apiName, entry)));
  const listed = new Set(deletions.map(({ id }) => id));
  const [known, parked] = await Promise.all([register.known(apiName, [...listed]), register.parked(apiName, [...listed])]);
  // Both keep the upper bound of the whole second. What is parked is in the log: a removal that waits is not published at each scan.
  const deletedMs = (id: string): number => Math.max(known.get(id)?.deletedMs ?? Number.NEGATIVE_INFINITY, parked.get(id)?.deletedMs ?? Number.NEGATIVE_INFINITY);
  const fresh = deletions.flatMap((deletion) => freshOf(deletion, known.get(deletion.id), { knownMs: deletedMs(deletion.id), listedMs: observed.lowerMs }));
  const removed = new Set(fresh.map(({ id }) => id).filter((id) => (known.get(id)?.modifiedMs ?? null) !== null));
  if (!(await breaker.admits(apiName, removed.size))) {
    log.error({ module: apiName, deletions: removed.size }, 'deletions are held: more than are believed without a person; see "lockstep release"');
    return { listed, published: 0, ascertained: new Set(), isHeld: true };
  }
  // Before they are published: once the register has a deletion, it is not looked at again.
  for (const referring of await referrers.to(apiName, fresh.map(({ id }) => id))) await looks.want(referring.module, referring.ids, 'referrer');
  const ascertained = deletions.flatMap((deletion) => ascertainedOf(deletion, known.get(deletion.id), parked.get(deletion.id), { listedMs: observed.lowerMs, epsilonMs }));
  const messages = [...fresh, ...ascertained].map((listing) => deletedMessage(module, listing, reading.name));
  if (messages.length > 0) await producer.send(topicOf(module), messages, { timeoutMs: 30_000 });
  metrics.deletions.inc({ module: apiName }, fresh.length);
  return { listed, published: fresh.length, ascertained: new Set(ascertained.map(({ id }) => id)), isHeld: false };
}

/** What keeps an entry from being read; null for nothing. */
const faultOf = ({ id, deletedTime }: DeletedRecord): string | null =>
  !isRecordId(id) ? 'the id is no number from 1 to 2^63 - 1' : timeOf(deletedTime) === null ? 'the time of the deletion is no instant' : null;

/** One entry that cannot be read says nothing of the others. */
function unreadableOf(module: string, entry: DeletedRecord): DeadLetter[] {
  const cause = faultOf(entry);
  if (cause === null) return [];
  const id = isRecordId(entry.id) ? entry.id : '';
  return [{ source: 'deleted-list', key: id, position: { module, id }, code: id === '' ? 'RECORD_ID_MALFORMED' : 'DELETED_TIME_MALFORMED', cause }];
}

/** An entry of the list; `listedMs` is not later than the beginning of the call. */
type Listing = { readonly id: string; readonly deletedMs: number; readonly listedMs: number };

/**
 * The deletion of a record that the register holds for dead, where the list was read late enough to end a doubt and still names it. A look may
 * have seen the record after that deletion; or a content of it is parked which seems to be the later one, as the CRM's clock was set back
 * between the two. The register's deletion may be later than the one that is named, where a time was cut or is that of a look: then the list
 * has to be read later than any read can lag.
 */
function ascertainedOf({ id, deletedTime, isBounded }: DeletedRecord, known: RegisterEntry | undefined, parked: ParkedEntry | undefined, { listedMs, epsilonMs }: { readonly listedMs: number; readonly epsilonMs: number }): Listing[] {
  if (known === undefined || known.deletedMs === null || isAliveBy(known, epsilonMs)) return [];
  const contentMs = parked?.contentMs ?? Number.NEGATIVE_INFINITY;
  const isParkedLater = contentMs > Number.NEGATIVE_INFINITY && (known.listedMs ?? Number.NEGATIVE_INFINITY) <= contentMs + epsilonMs;
  if (isSettledBy(known, epsilonMs) && !isParkedLater) return [];
  // A time that has yet to come is another one at each reading.
  const deletedMs = isBounded === true ? known.deletedMs - 999 : instantMs(deletedTime);
  const isSame = known.deletedMs <= deletedMs + 999;
  const isLateEnough = listedMs > Math.max(known.deletedMs, contentMs) + (isSame ? epsilonMs : STALE_AT_MOST_MS);
  return known.deletedMs >= deletedMs && isLateEnough ? [{ id, deletedMs, listedMs }] : [];
}

/**
 * The deletion, if the log does not have it. The list is believed more than the times in it:
 * - one whose time had not come (`isBounded`) is named with another time by each reading, and is no news where the record is dead;
 * - a record that is still listed so long after a look that no read lags behind is deleted now, although the look seems to be the
 *   later one: its time, or the deletion's, was of a wrong clock. Then the deletion counts as later than that look.
 */
function freshOf({ id, deletedTime, isBounded }: DeletedRecord, known: RegisterEntry | undefined, { knownMs, listedMs }: { readonly knownMs: number; readonly listedMs: number }): Listing[] {
  const namedMs = instantMs(deletedTime);
  const lookedMs = known?.observedMs ?? Number.NEGATIVE_INFINITY;
  if (isBounded === true && knownMs >= lookedMs && knownMs > Number.NEGATIVE_INFINITY) return [];
  const isDeadNow = lookedMs > Math.max(namedMs, knownMs) && listedMs > lookedMs + STALE_AT_MOST_MS;
  const deletedMs = isDeadNow ? Math.floor(lookedMs / 1000) * 1000 : namedMs;
  return knownMs < deletedMs ? [{ id, deletedMs, listedMs }] : [];
}
