import { describe, expect, test } from 'vitest';

import { ParkedShare } from './parked-share.ts';

const batch = (applied: number, rejects: number, refused = 0) => ({ applied, refused, rejects });
const tooMany = expect.objectContaining({ code: 'TOO_MANY_PARKED' }) as Error;

describe('the share of parked messages', () => {
  test('may be one in a hundred, and no more', () => {
    const share = new ParkedShare();
    expect(() => share.note('Leads', batch(19_800, 200))).not.toThrow();
    expect(() => share.note('Leads', batch(0, 1))).toThrow(tooMany);
  });

  test('of a module may be anything up to a hundred messages', () => {
    const share = new ParkedShare();
    expect(() => share.note('Leads', batch(0, 100))).not.toThrow();
    expect(() => share.note('Leads', batch(0, 1))).toThrow(tooMany);
  });

  test('counts each module by itself, and what was refused as fitting', () => {
    const share = new ParkedShare();
    share.note('Leads', batch(0, 0, 20_000));
    expect(() => share.note('Leads', batch(0, 150))).not.toThrow();
    expect(() => share.note('Deals', batch(0, 150))).toThrow(tooMany);
  });

  test('that was too large halts again only when more is parked', () => {
    const share = new ParkedShare();
    expect(() => share.note('Leads', batch(0, 150))).toThrow(tooMany);
    expect(() => share.note('Leads', batch(10, 0))).not.toThrow();
    expect(() => share.note('Leads', batch(10, 1))).toThrow(tooMany);
  });
});
