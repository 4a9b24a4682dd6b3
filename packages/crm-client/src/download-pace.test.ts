import { describe, expect, test } from 'vitest';

import { DOWNLOADS_PER_MINUTE, DownloadPace } from './download-pace.ts';

describe('downloads', () => {
  test('are at most eight in any minute', () => {
    const pace = new DownloadPace(DOWNLOADS_PER_MINUTE);
    const begun: number[] = [];
    for (let now = 0; begun.length < 40; ) {
      const waitMs = pace.waitMs(now);
      if (waitMs > 0) {
        now += waitMs;
        continue;
      }
      pace.begin(now);
      begun.push(now);
      now += 3_000;
    }
    for (const at of begun) expect(begun.filter((other) => other >= at && other < at + 60_000).length).toBeLessThanOrEqual(8);
    expect(begun.slice(0, 9)).toEqual([0, 3_000, 6_000, 9_000, 12_000, 15_000, 18_000, 21_000, 60_000]);
  });

  test('stop for a minute after one was refused', () => {
    const pace = new DownloadPace(DOWNLOADS_PER_MINUTE);
    pace.begin(0);
    pace.refused(500);
    expect([pace.waitMs(500), pace.waitMs(60_499), pace.waitMs(60_500)]).toEqual([60_000, 1, 0]);
  });

  test('are as many as one likes without a limit', () => {
    const pace = new DownloadPace(0);
    for (let download = 0; download < 50; download += 1) pace.begin(0);
    pace.refused(0);
    expect(pace.waitMs(0)).toBe(0);
  });
});
