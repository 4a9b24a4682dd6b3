/** More hints wait for Kafka than may be kept in memory; answered with 503. */
export class OverloadedError extends Error {
  readonly code = 'INGRESS_OVERLOADED';
  readonly retryable = true;

  constructor() {
    super('too many notifications wait for Kafka');
    this.name = 'OverloadedError';
  }
}
