/**
 * What a consumer cannot go on with. Those of a partition show in `/readyz`; the others go on.
 * - `NAME_INVALID`: the consumer's name is not kebab-case, or too long.
 * - `TOPIC_RECREATED`: the topic is not the one the positions belong to. `lockstep replay <consumer> --from beginning` starts again with it.
 * - `OFFSETS_LOST`: the log no longer holds the next offset. Nothing was skipped. Restore the topic.
 * - `LOG_REPARTITIONED`: a record has messages in two partitions, so their order is not known. Write the topic again with its new partitions.
 * - `POSITION_TAKEN`: another process moved the position. Harmless: the position is read again.
 * - `EFFECT_FAILED`: the application's effect failed; the cause says why. The batch is rolled back and tried again, at most a minute later.
 * - `FILE_CHANGED`: the file is shorter than what was written to it. Restore it, or name another file.
 * - `CONSUMER_UNKNOWN`: no consumer of this name has run in this database.
 * - `CONSUMER_RUNNING`: a replay needs the consumer to be stopped. Stop every instance.
 * - `POSITION_INVALID`: the log does not hold the position that a replay is to begin at.
 */
export class ConsumerError extends Error {
  readonly code: ConsumerErrorCode;
  readonly retryable = false;

  constructor(message: string, code: ConsumerErrorCode, options?: ErrorOptions) {
    super(message, options);
    this.name = 'ConsumerError';
    this.code = code;
  }
}

export type ConsumerErrorCode =
  | 'NAME_INVALID'
  | 'TOPIC_RECREATED'
  | 'OFFSETS_LOST'
  | 'LOG_REPARTITIONED'
  | 'POSITION_TAKEN'
  | 'EFFECT_FAILED'
  | 'FILE_CHANGED'
  | 'CONSUMER_UNKNOWN'
  | 'CONSUMER_RUNNING'
  | 'POSITION_INVALID';
