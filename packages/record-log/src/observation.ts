import type { Version } from './version.ts';

/** A canonical field value: text, numbers, ids and times as strings, true and false as themselves, empty as null. */
export type FieldValue = string | boolean | null;

/** A look saw the record with this `Modified_Time` and these fields, in the order of the named coverage. */
export type RecordSeen = Version & {
  readonly type: 'RecordSeen';
  readonly id: string;
  readonly coverage: string;
  readonly fields: readonly FieldValue[];
};

/**
 * A look saw this although the register held a greater `Modified_Time`: that went backwards, or had lain in the future. It competes
 * with the register's time instead of its own, and its row shows the time that was read.
 */
export type RecordRepaired = Omit<RecordSeen, 'type'> & { readonly type: 'RecordRepaired'; readonly versionMs: number };

/**
 * A look saw the content the register already held; it only moves the time of the last look. It carries no content, so it holds for
 * what stands at its place in the log, and for nothing else.
 */
export type RecordConfirmed = Version & { readonly type: 'RecordConfirmed'; readonly id: string };

/** The CRM lists the record as deleted. */
export type RecordDeleted = {
  readonly type: 'RecordDeleted';
  readonly id: string;
  /** The CRM's `deleted_time`: epoch milliseconds, cut to whole seconds. */
  readonly deletedMs: number;
  /** A CRM time not later than the beginning of the call that still listed it, epoch milliseconds; absent in older events. */
  readonly listedMs?: number;
};

/** One immutable fact about one record. The fold of all of them is the record's state. */
export type Observation = RecordSeen | RecordRepaired | RecordConfirmed | RecordDeleted;

/** The ordered field names that the events naming this id speak about; a field outside is "no statement", never NULL. */
export type CoverageDeclared = { readonly type: 'CoverageDeclared'; readonly coverage: string; readonly fields: readonly string[] };

/** Everything that may stand in a topic of record events. */
export type RecordEvent = Observation | CoverageDeclared;
