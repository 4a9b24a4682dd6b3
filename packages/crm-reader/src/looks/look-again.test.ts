import { beforeEach, describe, expect, test, vi } from 'vitest';

import type { PendingHint } from './hint-queue.ts';
import { LookAgain } from './look-again.ts';

const hint = (id: string): PendingHint => ({ hint: { module: 'Leads', id, operation: 'update', channelId: '1', serverTimeMs: null, receivedMs: 0 }, name: 'hint 0/0', answered: () => undefined });

let looks: string[];
let stopping: AbortController;
let again: LookAgain;

beforeEach(() => {
  vi.useFakeTimers();
  looks = [];
  stopping = new AbortController();
  again = new LookAgain({ look: ({ hint: { id } }) => looks.push(id), signal: stopping.signal });
  return () => vi.useRealTimers();
});

describe('a look that brought nothing new', () => {
  test('is repeated after 2 s, and after 10 s more, and then no more', () => {
    expect(again.later(hint('1'))).toBe(true);
    vi.advanceTimersByTime(1_999);
    expect(looks).toEqual([]);
    vi.advanceTimersByTime(1);
    expect(looks).toEqual(['1']);
    expect(again.later(hint('1'))).toBe(true);
    vi.advanceTimersByTime(10_000);
    expect(looks).toEqual(['1', '1']);
    expect(again.later(hint('1'))).toBe(false);
  });

  test('waits once, however many hints there are about its record', () => {
    again.later(hint('1'));
    again.later(hint('1'));
    vi.advanceTimersByTime(20_000);
    expect(looks).toEqual(['1']);
  });

  test('begins again with something new in between', () => {
    again.later(hint('1'));
    again.forget('1');
    vi.advanceTimersByTime(20_000);
    expect(looks).toEqual([]);
    expect(again.later(hint('1'))).toBe(true);
  });

  test('is not repeated once the reader stops', () => {
    again.later(hint('1'));
    stopping.abort();
    vi.advanceTimersByTime(20_000);
    expect(looks).toEqual([]);
    expect(again.later(hint('2'))).toBe(false);
  });
});
