/**
 * What can go wrong with the local stack, and what to do:
 * - `STACK_KAFKA_UNAVAILABLE`: neither a broker, nor Docker, nor Java with Maven; the message lists the three ways out.
 * - `STACK_POSTGRES_UNAVAILABLE`: no server, no Docker, and none to embed; the message says why.
 * - `STACK_DATA_BROKEN`: a data folder was left half made, or belongs to another version; the message names it and the remedy.
 * - `STACK_IN_USE`: another process runs a stack on the same data folder; stop it, or pass another folder.
 * - `STACK_PORT_TAKEN`: another process listens on the requested port; name another one, or none to get a free one.
 * - `STACK_START_FAILED`: a service ended while it started, or was not ready in time; the message holds the end of its log.
 * - `STACK_DOWNLOAD_FAILED`: Maven could not fetch the broker's jars; try again, or take another way.
 * - `STACK_NOT_RUNNING`: a test requested a service that its set-up did not start; see vitest-postgres and vitest-stack.
 * - `STACK_NOT_EMPTY`: topics or consumer groups could not be deleted; end what uses them.
 */
export type LocalStackErrorCode =
  | 'STACK_KAFKA_UNAVAILABLE'
  | 'STACK_POSTGRES_UNAVAILABLE'
  | 'STACK_DATA_BROKEN'
  | 'STACK_IN_USE'
  | 'STACK_PORT_TAKEN'
  | 'STACK_START_FAILED'
  | 'STACK_DOWNLOAD_FAILED'
  | 'STACK_NOT_RUNNING'
  | 'STACK_NOT_EMPTY';

/** Every error the local stack throws on purpose. `retryable` says that the same call may succeed without anybody's doing. */
export class LocalStackError extends Error {
  override readonly name = 'LocalStackError';
  readonly code: LocalStackErrorCode;
  readonly retryable: boolean;

  constructor(message: string, { code, retryable = false, cause }: { code: LocalStackErrorCode; retryable?: boolean; cause?: unknown }) {
    super(message, { cause });
    this.code = code;
    this.retryable = retryable;
  }
}
