import { createRequire } from 'node:module';

type RequestQueue = { pending: unknown[]; throttledUntil: number; scheduleCheckPendingRequests: (this: RequestQueue) => void };

/**
 * kafkajs 2.2.4 re-arms a timer of 1 ms forever after each answered request, and warns of a negative timeout on Node 24
 * (tulios/kafkajs#1751). This stops both. The adapter in packages/kafka does the same; it cannot be imported from here,
 * because its tests import this package.
 */
export function quietKafkaTimer(): void {
  const { prototype } = createRequire(import.meta.url)('kafkajs/src/network/requestQueue/index.js') as { prototype: RequestQueue };
  const schedule = prototype.scheduleCheckPendingRequests;
  prototype.scheduleCheckPendingRequests = function (this: RequestQueue): void {
    if (this.pending.length === 0 && this.throttledUntil <= Date.now()) return;
    if (this.throttledUntil < Date.now()) this.throttledUntil = Date.now();
    schedule.call(this);
  };
}
