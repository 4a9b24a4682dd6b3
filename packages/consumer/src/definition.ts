import type { ModuleDefinition } from '@lockstep/modules';
import type { FieldValue, Observation, Version } from '@lockstep/record-log';
import type { PoolClient } from 'pg';

import { ConsumerError } from './errors.ts';

/** A record's fields by their API names. A field that no content of the record has spoken about is missing; an empty one is null. */
export type Fields = Readonly<Record<string, FieldValue>>;

/** Where a message stands in the log. */
export type Place = { readonly topic: string; readonly partition: number; readonly offset: number };

/** One step of a record's newest state: what stood before, and what stands now. */
export type ConsumedChange = {
  /** API name, e.g. `Deals`. */
  readonly module: string;
  readonly id: string;
  /** `created`: it was never known as existing before. `restored`: it was, and had been deleted. */
  readonly kind: 'created' | 'changed' | 'deleted' | 'restored';
  /** The fields as they were known before, also those of a record that had been deleted; null where none were. */
  readonly before: Fields | null;
  /** The fields as they are now; null once the record is deleted. */
  readonly after: Fields | null;
  /** `Modified_Time` of the newest content. */
  readonly modifiedAt: Date;
  /** The end of the second in which the CRM deleted the record; null while it exists. */
  readonly deletedAt: Date | null;
  /** The message that made the change. */
  readonly place: Place;
  /** Made from module, id and version: the same in every replay, and never that of another change. At most 120 characters of `[A-Za-z0-9._-]`. */
  readonly idempotencyKey: string;
};

/** What the fold made of a message about a record. */
export type Outcome = 'won' | 'outdated' | 'tie' | 'confirmed' | 'not confirmed' | 'deleted';

/** A message about a record as it stands in the log, for consumers that need more than the newest state. */
export type Observed = {
  readonly module: string;
  readonly id: string;
  readonly observation: Observation;
  readonly outcome: Outcome;
  /** What a content says, by API names; for a confirmation, what it confirms. Null for a deletion, and for what is not confirmed. */
  readonly stated: { readonly coverage: string; readonly fields: Fields; readonly version: Version } | null;
  readonly place: Place;
};

/** The changes of one batch, in the order of the log, and every message about a record that they came from. */
export type ConsumedBatch = { readonly changes: readonly ConsumedChange[]; readonly observations: readonly Observed[] };

/** The connection of the batch's transaction. Statements on it take effect together with the consumer's position, or not at all. */
export type Transaction = Pick<PoolClient, 'query'>;

/** What a consumer consists of. */
export type ConsumerDefinition = {
  /** kebab-case, e.g. `deals-won`: names schema, group, metrics and outbox. To change it is to begin again. */
  readonly name: string;
  readonly modules: readonly ModuleDefinition[];
  /** Creates the application's own tables, once an instance; it may run at every start, so `create table if not exists`. */
  readonly prepare?: (transaction: Transaction) => Promise<void>;
  /**
   * The effect in the database, in the transaction that moves the position: it happens exactly once for each change. It may be called again
   * for the same batch after a rollback, so nothing outside of the transaction belongs here.
   */
  readonly apply?: (batch: ConsumedBatch, transaction: Transaction) => Promise<void>;
  /** What is to be sent for a change: any JSON value, or undefined for nothing. It is stored in that transaction and sent from there. */
  readonly deliveryOf?: (change: ConsumedChange) => object | undefined;
};

const NAME = /^[a-z][a-z0-9]*(?:-[a-z0-9]+)*$/;
const MAX_NAME = 40;

/** @throws {ConsumerError} `NAME_INVALID`. */
export function checkName(name: string): void {
  if (!NAME.test(name) || name.length > MAX_NAME) throw new ConsumerError(`"${name}" is no name for a consumer: kebab-case, at most ${MAX_NAME} characters, e.g. deals-won`, 'NAME_INVALID');
}
