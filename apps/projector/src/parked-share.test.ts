import { describe, expect, test } from 'vitest';

import { ParkedShare } from './parked-share.ts';

const batch = (applied: number, rejects: number, refused = 0) => ({ applied, refused, rejects, waiting: 0 });

describe('of the recent messages of a module', () => {
  test('a hundred may be parked, whatever their share', () => {
    const share = new ParkedShare();
    expect(share.mostParked('Leads', 4_000)).toBe(100);
    share.note('Leads', batch(0, 60));
    expect([share.mostParked('Leads', 40), share.mostParked('Deals', 40)]).toEqual([40, 100]);
  });

  test('one in a hundred may be parked, and no more; what was refused fits', () => {
    const share = new ParkedShare();
    share.note('Leads', batch(10_000, 200, 9_800));
    expect([share.mostParked('Leads', 0), share.mostParked('Leads', 10_000)]).toEqual([0, 100]);
  });

  test('the oldest no longer count once ten thousand are newer', () => {
    const share = new ParkedShare();
    share.note('Leads', batch(0, 100));
    share.note('Leads', batch(9_999, 0));
    expect(share.mostParked('Leads', 1)).toBe(1);
    share.note('Leads', batch(1, 0));
    expect(share.mostParked('Leads', 1)).toBe(100);
  });

  test('the oldest no longer count after ten minutes', () => {
    let nowMs = 0;
    const share = new ParkedShare(() => nowMs);
    share.note('Leads', batch(0, 100));
    nowMs = 599_999;
    expect(share.mostParked('Leads', 1)).toBe(0);
    nowMs = 600_000;
    expect(share.mostParked('Leads', 1)).toBe(100);
  });

  test('a tenth may be parked at most while a wave is known, and none of a few', () => {
    const share = new ParkedShare();
    share.setWave('Leads', true);
    expect([share.mostParked('Leads', 9), share.mostParked('Leads', 50), share.mostParked('Leads', 5_000)]).toEqual([0, 5, 100]);
    share.setWave('Leads', false);
    expect(share.mostParked('Leads', 9)).toBe(100);
  });
});
