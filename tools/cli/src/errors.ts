/** What a command cannot do, said to the person who asked; the exit code is 2. */
export class UsageError extends Error {
  readonly code = 'USAGE';
  readonly retryable = false;

  constructor(message: string) {
    super(message);
    this.name = 'UsageError';
  }
}
