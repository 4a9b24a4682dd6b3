/** What a rebuild or a verification cannot go on from: see each. None goes away by trying again. */
export type RebuildErrorCode =
  /** The log cannot give back what the table holds: its first offsets are gone, or the topic was created again. */
  | 'LOG_INCOMPLETE'
  /** The projector has no position in this log yet. */
  | 'NOTHING_PROJECTED'
  /** A projector fills the table from the log already. */
  | 'PROJECTOR_AT_WORK'
  /** A record has messages in two partitions: their order is not known. */
  | 'LOG_REPARTITIONED'
  /** To remove rows that the log says nothing of would change rows of other tables. */
  | 'CASCADING_FOREIGN_KEY'
  /** Register and table are not what the log says, so that cannot be certified. */
  | 'DIFFERENT'
  /** Mapping and table are not those that the projector writes by. */
  | 'MAPPING_CHANGED';

/** An error of {@link RebuildErrorCode}. */
export class RebuildError extends Error {
  readonly code: RebuildErrorCode;
  readonly retryable = false;

  constructor(message: string, code: RebuildErrorCode, options?: ErrorOptions) {
    super(message, options);
    this.name = 'RebuildError';
    this.code = code;
  }
}
