/**
 * What keeps the whole from running.
 * - `APP_ENDED`: an app or the simulator ended by itself; the message holds the end of its log.
 * - `TIMED_OUT`: something that was waited for did not come; the message names it.
 * - `NO_SIMULATOR`: a comparison needs the simulator's truth.
 */
export class HarnessError extends Error {
  readonly code: 'APP_ENDED' | 'TIMED_OUT' | 'NO_SIMULATOR';
  readonly retryable = false;

  constructor(message: string, code: HarnessError['code'], options?: ErrorOptions) {
    super(message, options);
    this.name = 'HarnessError';
    this.code = code;
  }
}
