import type { Hint } from '@lockstep/notifications';
import { describe, expect, test } from 'vitest';

import { Acknowledged } from './acknowledged.ts';
import { HintQueue, type PendingHint } from './hint-queue.ts';

const pending = (id: string, receivedMs = 0): PendingHint => ({ hint: { module: 'Leads', id, operation: 'update', channelId: '1', serverTimeMs: null, receivedMs } satisfies Hint, name: 'hint 0/0', answered: () => undefined });

describe('the queue of hints', () => {
  test('hints about one record wait together and are taken once', () => {
    const queue = new HintQueue();
    for (const one of [pending('1'), pending('2'), pending('1')]) queue.add(one);
    expect(queue.size).toBe(2);
    expect([...queue.take(10)].map(([id, list]) => [id, list.length])).toEqual([['1', 2], ['2', 1]]);
    expect(queue.size).toBe(0);
  });

  test('a hint that comes while its record is looked at waits for the next look', () => {
    const queue = new HintQueue();
    queue.add(pending('1'));
    queue.take(1);
    queue.add(pending('1'));
    expect(queue.size).toBe(1);
  });

  test('what could not be answered is taken first again, together with what came since', () => {
    const queue = new HintQueue();
    queue.add(pending('1'));
    const taken = queue.take(1);
    queue.add(pending('2'));
    queue.add(pending('1', 5));
    queue.putBack(taken);
    expect([...queue.take(10)].map(([id, list]) => [id, list.map(({ hint }) => hint.receivedMs)])).toEqual([['1', [0, 5]], ['2', [0]]]);
  });
});

describe('the offset to go on from', () => {
  test('passes only what is all answered', () => {
    const acknowledged = new Acknowledged(10);
    expect(acknowledged.committable).toBe(10);
    for (const offset of [10, 11, 12]) acknowledged.begin(offset);
    acknowledged.end(11);
    expect(acknowledged.committable).toBe(10);
    acknowledged.end(10);
    expect(acknowledged.committable).toBe(12);
    acknowledged.end(12);
    expect(acknowledged.committable).toBe(13);
  });

  test('is that of the least open one, also where a batch is handed on again', () => {
    const acknowledged = new Acknowledged(10);
    for (const offset of [10, 11, 12]) acknowledged.begin(offset);
    acknowledged.end(10);
    for (const offset of [10, 11, 12]) acknowledged.begin(offset);
    expect(acknowledged.committable).toBe(10);
  });
});
