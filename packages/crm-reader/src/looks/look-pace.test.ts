import { realTime } from '@lockstep/telemetry';
import { beforeEach, describe, expect, test } from 'vitest';

import { LookPace } from './look-pace.ts';

let nowMs: number;
let lingerMs: number;
let pace: LookPace;
const waiting = (records: number) => ({ waiting: records, suspects: 0 });

beforeEach(() => {
  [nowMs, lingerMs] = [1_000_000, 0];
  pace = new LookPace({ intervalMs: 100, idsPerLook: 50, lingerMs: () => lingerMs, time: { ...realTime, elapsed: () => nowMs } });
});

function looked(): void {
  pace.begin();
  pace.end();
}

describe('while credits are plenty', () => {
  test('a look waits for the interval, and a full one for nothing', () => {
    looked();
    expect([pace.waitMs(waiting(1)), pace.waitMs(waiting(50))]).toEqual([100, -nowMs]);
  });
});

describe('where credits are scarce', () => {
  test('looks wait for each other, full ones too, and the first after a quiet time does not', () => {
    lingerMs = 6_000;
    expect(pace.waitMs(waiting(1))).toBeLessThanOrEqual(0);
    looked();
    nowMs += 1_000;
    expect([pace.waitMs(waiting(1)), pace.waitMs(waiting(500))]).toEqual([5_000, 5_000]);
    nowMs += 5_000;
    expect(pace.waitMs(waiting(1))).toBe(0);
  });

  test('what they wait for is asked again within ten seconds: credits flow in', () => {
    lingerMs = Number.POSITIVE_INFINITY;
    looked();
    expect(pace.waitMs(waiting(500))).toBe(10_000);
    lingerMs = 0;
    expect(pace.waitMs(waiting(500))).toBeLessThanOrEqual(0);
  });

  test('a record that was kept aside waits as well', () => {
    lingerMs = 6_000;
    looked();
    expect(pace.waitMs({ waiting: 0, suspects: 1 })).toBe(6_000);
  });
});
