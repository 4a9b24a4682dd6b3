import type { CrmClient } from '@lockstep/crm-client';
import type { Producer } from '@lockstep/kafka';
import { type ModuleDefinition, topicOf } from '@lockstep/modules';
import type { DeletionBreaker, Referrers, RegisterReader, WantedLooks } from '@lockstep/postgres';
import { instantMs } from '@lockstep/record-log';
import type { Logger } from '@lockstep/telemetry';

import type { ReaderMetrics } from './metrics.ts';
import { deletedMessage } from './record-publisher.ts';

export type DeletedListDeps = {
  readonly crm: Pick<CrmClient, 'deletedSince'>;
  readonly producer: Pick<Producer, 'send'>;
  readonly register: Pick<RegisterReader, 'known'>;
  readonly breaker: Pick<DeletionBreaker, 'admits'>;
  readonly referrers: Referrers;
  readonly looks: Pick<WantedLooks, 'want'>;
  readonly metrics: ReaderMetrics;
  readonly log: Logger;
};

/** What the list said. `isHeld`: it said more than is believed without a person's word, and nothing was published. */
export type DeletedListRead = { readonly listed: ReadonlySet<string>; readonly published: number; readonly isHeld: boolean };

/**
 * Reads the list of deleted records since a time, the only source of deletions, and publishes those the register does not
 * have. Returns once Kafka has all of them, and looks are wanted at the records that point to them: a merge deletes one record and
 * lets them point to another, and need not move their `Modified_Time`.
 */
export async function readDeletedList({ crm, producer, register, breaker, referrers, looks, metrics, log }: DeletedListDeps, module: ModuleDefinition, since: Date): Promise<DeletedListRead> {
  const { apiName } = module;
  const deletions = (await crm.deletedSince(apiName, since)).map(({ id, deletedTime }) => ({ id, deletedMs: instantMs(deletedTime) }));
  const listed = new Set(deletions.map(({ id }) => id));
  const known = await register.known(apiName, [...listed]);
  // The register keeps the upper bound of the whole second.
  const fresh = deletions.filter(({ id, deletedMs }) => (known.get(id)?.deletedMs ?? Number.NEGATIVE_INFINITY) < deletedMs);
  const removed = new Set(fresh.map(({ id }) => id).filter((id) => (known.get(id)?.modifiedMs ?? null) !== null));
  if (!(await breaker.admits(apiName, removed.size))) {
    log.error({ module: apiName, deletions: removed.size }, 'deletions are held: more than are believed without a person; see "lockstep release"');
    return { listed, published: 0, isHeld: true };
  }
  // Before they are published: once the register has a deletion, nobody comes back to it.
  for (const referring of await referrers.to(apiName, fresh.map(({ id }) => id))) await looks.want(referring.module, referring.ids, 'referrer');
  if (fresh.length > 0) await producer.send(topicOf(module), fresh.map((deletion) => deletedMessage(module, deletion)), { timeoutMs: 30_000 });
  metrics.deletions.inc({ module: apiName }, fresh.length);
  return { listed, published: fresh.length, isHeld: false };
}
