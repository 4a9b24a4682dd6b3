/**
 * A notification, or a stored hint, that cannot be taken.
 * - `NOTIFICATION_MALFORMED`: not what the CRM sends. Answered with 400; nothing is stored.
 */
export class NotificationError extends Error {
  readonly code = 'NOTIFICATION_MALFORMED';
  readonly retryable = false;

  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'NotificationError';
  }
}
