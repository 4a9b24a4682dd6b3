const unreachable = new Set(['ECONNREFUSED', 'ECONNRESET', 'ENOTFOUND', 'EHOSTUNREACH', 'ETIMEDOUT', 'KAFKA_UNREACHABLE', 'DATABASE_UNREACHABLE', '28P01', '28000', '3D000']);

/** What to do about a broker or database that cannot be reached; null for any other error. */
export function unreachableText(error: unknown): string | null {
  const { code, message } = error as { code?: unknown; message?: unknown };
  return typeof code === 'string' && unreachable.has(code) ? `${String(message)}: look at DATABASE_URL and KAFKA_BROKERS, and whether what they name runs` : null;
}

/** What a command cannot do, said to the person who asked; the exit code is 2. */
export class UsageError extends Error {
  readonly code = 'USAGE';
  readonly retryable = false;

  constructor(message: string) {
    super(message);
    this.name = 'UsageError';
  }
}
