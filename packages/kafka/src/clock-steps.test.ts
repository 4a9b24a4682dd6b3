import { createRequire } from 'node:module';

import { afterEach, beforeEach, expect, test, vi } from 'vitest';

await import('./kafkajs.ts');

const require = createRequire(import.meta.url);
const HOUR = 3_600_000;

beforeEach(() => void vi.useFakeTimers({ toFake: ['Date', 'setTimeout', 'clearTimeout'] }));
afterEach(() => void vi.useRealTimers());

type Queue = { pending: unknown[]; scheduleCheckPendingRequests(): void; maybeThrottle(ms: number): void };

test.each([-HOUR, HOUR])('a request that waits is sent, although the wall clock is set by %i ms', (stepMs) => {
  const RequestQueue = require('kafkajs/src/network/requestQueue/index.js') as new (options: object) => Queue;
  const sent: unknown[] = [];
  const waiting = { entry: {} };
  const queue = new RequestQueue({ maxInFlightRequests: 5, requestTimeout: 30_000, enforceRequestTimeout: false, clientId: 'test', broker: 'test', logger: { debug: () => undefined }, isConnected: () => true });
  Object.assign(queue, { pending: [waiting], sendSocketRequest: (request: unknown) => void sent.push(request) });
  queue.scheduleCheckPendingRequests();
  queue.maybeThrottle(1_000);
  vi.setSystemTime(Date.now() + stepMs);
  queue.scheduleCheckPendingRequests();
  vi.advanceTimersByTime(2_000);
  expect(sent).toEqual([waiting]);
});

test.each([-HOUR, HOUR])('heartbeats go on, although the wall clock is set by %i ms', async (stepMs) => {
  type Group = { heartbeat(options: { interval: number }): Promise<void>; memberId: string };
  const ConsumerGroup = require('kafkajs/src/consumer/consumerGroup.js') as new (options: object) => Group;
  let beats = 0;
  const group = new ConsumerGroup({ retry: {}, cluster: {}, topics: [], topicConfigurations: {}, logger: { namespace: () => ({ debug: () => undefined }) }, assigners: [], instrumentationEmitter: { emit: () => undefined } });
  Object.assign(group, { memberId: 'a member', coordinator: { heartbeat: async () => void (beats += 1) } });
  vi.setSystemTime(Date.now() + stepMs);
  for (let second = 0; second < 30; second += 1) {
    await group.heartbeat({ interval: 3_000 });
    vi.setSystemTime(Date.now() + 1_000);
  }
  expect(beats).toBe(10);
});
