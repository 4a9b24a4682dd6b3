import { dayBucket } from '@lockstep/completeness';
import { describe, expect, test } from 'vitest';

import { Flood } from './flood.ts';

const bucket = dayBucket({ perDay: 100_000, reserve: 0.25 });

/** A module that changes; 19.3 records a second are what looks at one of three modules can follow. */
function given() {
  let nowMs = 0;
  let level = bucket.capacity * 0.4;
  const flood = new Flood({ budget: { state: () => ({ ...bucket, level }) }, recordsPerLook: 100, modules: 3, time: { elapsed: () => nowMs } });
  return {
    fill: (share: number) => void (level = bucket.capacity * share),
    /** @returns whether it was a flood in the end. */
    changes: (perSecond: number, minutes: number): boolean => {
      let isOn = false;
      for (let at = 0; at < minutes * 60 * perSecond; at += 1) {
        nowMs += 1_000 / perSecond;
        isOn = flood.note();
      }
      return isOn;
    },
  };
}

describe('a flood', () => {
  test('is a module that changes faster than looks can follow', () => {
    expect([given().changes(10, 20), given().changes(25, 20)]).toEqual([false, true]);
  });

  test('is none while credits are plenty, and begins once they are not', () => {
    const { changes, fill } = given();
    fill(1);
    expect(changes(50, 10)).toBe(false);
    fill(0.4);
    expect(changes(50, 1)).toBe(true);
  });

  test('lasts until the module changes at half of that', () => {
    const { changes } = given();
    expect(changes(25, 20)).toBe(true);
    expect(changes(15, 20)).toBe(true);
    expect(changes(8, 20)).toBe(false);
    expect(changes(15, 20)).toBe(false);
  });

  test('is not made of a burst: ten minutes later what was counted is forgotten', () => {
    const { changes, fill } = given();
    fill(1);
    changes(100, 4);
    fill(0.4);
    expect(changes(0.01, 20)).toBe(false);
  });

  test('is never one without a budget', () => {
    const flood = new Flood({ budget: { state: () => null }, recordsPerLook: 100, modules: 1, time: { elapsed: () => 0 } });
    expect(Array.from({ length: 1_000 }, () => flood.note())).not.toContain(true);
  });
});
