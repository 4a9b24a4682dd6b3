/**
 * What the projector cannot go on with. The first four are parked, message by message; the others halt the partition and
 * show in `/readyz` until a person has acted.
 * - `EVENT_FIELDS_MALFORMED`: the fields do not match the coverage the event names. Look at who wrote it.
 * - `VALUE_NOT_STORABLE`: a text Postgres cannot hold (U+0000, half a surrogate pair). Correct it in the CRM.
 * - `VALUE_NOT_EXACT`: the column would round, cut, pad or reinterpret the value without a word, or a trigger changed it. Widen the column, correct the value in
 *   the CRM, change the trigger, or let the mapping say `onExcessScale: 'round'` or `onTriggerChange: 'accept'`; then look at the record again.
 * - `COVERAGE_UNKNOWN`: the event names a coverage that the log never declared. Look at who wrote it.
 * - `TOPIC_RECREATED`: the topic is not the one the positions belong to. Rebuild, or restore the topic.
 * - `OFFSETS_LOST`: the log no longer holds the next offset. Rebuild from a complete log; nothing was skipped.
 * - `MAPPING_CHANGED`: a newer build changed the module's mapping. Stop this process.
 * - `POSITION_TAKEN`: another process moved the position. Harmless: its partition was handed over; re-read and go on.
 * - `TOO_MANY_PARKED`: more messages of a batch do not fit than may be parked; none of them is. Mapping and table do not match: the message names what most of them lack.
 * - `TABLE_UNFIT`: mapping and table do not fit; nothing of the module is written. The message lists every fault with its remedy; once the
 *   table is changed the projector goes on by itself, a changed mapping needs a new build.
 * - `TABLE_CHANGED`: the table is not what the statements were built for. Harmless: it is read again, and the batch tried again.
 * - `CASCADING_FOREIGN_KEY`: `onDelete: 'remove'` would delete rows of other tables. Use 'mark', or change the constraint.
 */
export class ProjectionError extends Error {
  readonly code: ProjectionErrorCode;
  readonly retryable = false;

  constructor(message: string, code: ProjectionErrorCode, options?: ErrorOptions) {
    super(message, options);
    this.name = 'ProjectionError';
    this.code = code;
  }
}

export type ProjectionErrorCode =
  | 'EVENT_FIELDS_MALFORMED'
  | 'VALUE_NOT_STORABLE'
  | 'VALUE_NOT_EXACT'
  | 'COVERAGE_UNKNOWN'
  | 'TOPIC_RECREATED'
  | 'OFFSETS_LOST'
  | 'MAPPING_CHANGED'
  | 'POSITION_TAKEN'
  | 'TOO_MANY_PARKED'
  | 'TABLE_UNFIT'
  | 'TABLE_CHANGED'
  | 'CASCADING_FOREIGN_KEY';
