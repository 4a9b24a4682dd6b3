/**
 * A message that is no record event this build can read.
 * - `EVENT_MALFORMED`: not of the published form. It is parked and the partition moves on.
 * - `EVENT_VERSION_UNKNOWN`: written by a newer build. The partition stops; deploy that build.
 */
export class EventFormatError extends Error {
  readonly code: 'EVENT_MALFORMED' | 'EVENT_VERSION_UNKNOWN';
  readonly retryable = false;

  constructor(message: string, code: EventFormatError['code'], options?: ErrorOptions) {
    super(message, options);
    this.name = 'EventFormatError';
    this.code = code;
  }
}
