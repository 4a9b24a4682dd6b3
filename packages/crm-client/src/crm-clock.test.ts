import fc from 'fast-check';
import { describe, expect, test } from 'vitest';

import { CrmClock, type CrmTime, type Observed, observedBetween } from './crm-clock.ts';

const HOUR = 3_600_000;
const START = Date.parse('2026-05-04T10:00:00Z');
const header = (ms: number): string => new Date(Math.floor(ms / 1000) * 1000).toUTCString();
const YEAR_2099 = Date.parse('2099-01-01T00:00:00Z');

/** A process beside a CRM: what is true, and by how much each of the three sources is off. */
class Scene {
  clock = new CrmClock();
  /** True time since the start. */
  atMs = 0;
  wallOffMs = 0;
  dateOffMs = 0;
  /** How long the machine slept. */
  sleptMs = 0;

  /** The CRM's true time. */
  get trueMs(): number {
    return START + this.atMs;
  }

  moment() {
    return { wallMs: this.trueMs + this.wallOffMs, elapsedMs: 5_000 + this.atMs - this.sleptMs };
  }

  time(): CrmTime {
    return this.clock.time(this.moment());
  }

  /** A call of 40 ms; `during` happens in its middle. */
  call({ during = () => undefined, date }: { during?: () => void; date?: string | null } = {}): Observed {
    const sent = this.moment();
    this.atMs += 20;
    const said = date === undefined ? header(this.trueMs + this.dateOffMs) : date;
    during();
    this.atMs += 20;
    const bounds = this.clock.learn(sent, this.moment(), said);
    return observedBetween(sent, this.moment(), bounds);
  }

  /** A call every so many milliseconds. */
  calls(count: number, everyMs = 1_370): Observed {
    let last = this.call();
    for (let n = 1; n < count; n += 1) {
      this.atMs += everyMs;
      last = this.call();
    }
    return last;
  }

  /** Whether the span of a call that has just ended is bounded, and to two seconds. */
  isRight({ lowerMs, upperMs }: Observed): boolean {
    return lowerMs <= this.trueMs - 40 && lowerMs > this.trueMs - 2_000 && upperMs >= this.trueMs && upperMs < this.trueMs + 2_000;
  }
}

/** A process that begins beside a database, with its clocks as they are. */
function begun({ databaseOffMs = 0, ...off }: Partial<Pick<Scene, 'wallOffMs' | 'dateOffMs'>> & { databaseOffMs?: number } = {}): Scene {
  const scene = Object.assign(new Scene(), off);
  const aheadMs = scene.trueMs + databaseOffMs - scene.moment().elapsedMs;
  return Object.assign(scene, { clock: new CrmClock({ low: aheadMs, high: aheadMs }) });
}

function given({ calls = 20, ...off }: Partial<Pick<Scene, 'wallOffMs' | 'dateOffMs'>> & { calls?: number } = {}): Scene {
  const scene = Object.assign(new Scene(), off);
  if (calls > 0) scene.calls(calls);
  return scene;
}

describe('CRM time while all sources agree', () => {
  test('without any Date is the wall clock\'s, begun a minute early, and not firm', () => {
    const scene = new Scene();
    expect(scene.call({ date: null })).toEqual({ lowerMs: START - 60_000, upperMs: START + 40 });
    expect(scene.time()).toEqual({ earliestMs: START + 40 - 60_000, latestMs: START + 40, stampedUpToMs: START + 40, isFirm: false });
  });

  test('one reply bounds it to the second', () => {
    const scene = new Scene();
    expect(scene.isRight(scene.call())).toBe(true);
    expect(scene.time().isFirm).toBe(true);
  });

  test('many replies narrow it, so that two looks within one second are in order', () => {
    const scene = given({ calls: 60 });
    const first = scene.call();
    scene.atMs += 300;
    const second = scene.call();
    expect(first.upperMs).toBeLessThan(second.lowerMs);
    expect(scene.isRight(second)).toBe(true);
  });

  test('hosts that differ by seconds: the earliest counts, and none contradicts', () => {
    const scene = new Scene();
    for (let n = 0; n < 30; n += 1) {
      scene.dateOffMs = ((n % 3) - 1) * 20_000;
      scene.call();
      scene.atMs += 700;
    }
    expect(scene.call().upperMs).toBeLessThanOrEqual(scene.trueMs - 18_000);
    expect(scene.clock.report(scene.moment()).refused).toBe(0);
  });
});

describe('a Date that contradicts', () => {
  test('by one hour ahead in one reply moves nothing, is refused and reported', () => {
    const scene = given();
    scene.dateOffMs = HOUR;
    expect(scene.isRight(scene.call())).toBe(true);
    expect(scene.clock.report(scene.moment())).toMatchObject({ differs: 'date', refused: 1 });
    expect(scene.clock.report(scene.moment()).dateAheadMs).toBeCloseTo(HOUR, -4);
    scene.dateOffMs = 0;
    expect(scene.isRight(scene.call())).toBe(true);
    expect(scene.clock.report(scene.moment())).toMatchObject({ differs: null, refused: 1 });
  });

  test('by one hour behind in one reply makes that reply early, and the next one right', () => {
    const scene = given();
    scene.dateOffMs = -HOUR;
    expect(scene.call().upperMs).toBeLessThan(scene.trueMs - HOUR + 2_000);
    expect(scene.time()).toMatchObject({ isFirm: false });
    scene.dateOffMs = 0;
    expect(scene.isRight(scene.call())).toBe(true);
  });

  test.each([['2099', YEAR_2099], ['1970', 0]])('of %s for eight seconds moves nothing', (_, dateMs) => {
    const scene = given();
    for (let n = 0; n < 20; n += 1) {
      expect(scene.isRight(scene.call({ date: header(dateMs + scene.atMs) }))).toBe(true);
      scene.atMs += 400;
    }
    expect(scene.isRight(scene.call())).toBe(true);
  });

  test('of 2099 for eight seconds, from the first reply on, leaves the wall clock\'s time, a minute early', () => {
    const scene = new Scene();
    for (let n = 0; n < 20; n += 1) {
      const observed = scene.call({ date: header(YEAR_2099 + scene.atMs) });
      expect(observed.upperMs).toBeLessThanOrEqual(scene.trueMs);
      expect(observed.lowerMs).toBeGreaterThan(scene.trueMs - 61_000);
      scene.atMs += 400;
    }
    expect(scene.isRight(scene.call())).toBe(true);
  });

  test('ahead for a day, in every reply, is never believed; the end of it heals at once', () => {
    const scene = given();
    scene.dateOffMs = HOUR;
    for (let n = 0; n < 24 * 30; n += 1) {
      scene.atMs += 120_000;
      expect(scene.isRight(scene.call())).toBe(true);
    }
    scene.dateOffMs = 0;
    expect(scene.isRight(scene.call())).toBe(true);
  });

  test('on one host of three for good is never believed, and the others stay right', () => {
    const scene = given();
    for (let n = 0; n < 300; n += 1) {
      scene.dateOffMs = n % 3 === 0 ? -HOUR : 0;
      scene.atMs += 2_000;
      const observed = scene.call();
      expect(n % 3 === 0 || scene.isRight(observed)).toBe(true);
      expect(observed.upperMs).toBeLessThan(scene.trueMs + 2_000);
    }
  });

  test('behind in every reply is what the CRM stamps with: followed down, firm after a minute, and up again a minute after it ended', () => {
    const scene = given();
    scene.dateOffMs = -HOUR;
    scene.calls(80, 1_000);
    expect(scene.time()).toMatchObject({ isFirm: true });
    expect(scene.time().earliestMs).toBeLessThan(scene.trueMs - HOUR + 1_000);
    expect(scene.time().latestMs).toBeGreaterThanOrEqual(scene.trueMs);
    scene.dateOffMs = 0;
    expect(scene.call().upperMs).toBeLessThan(scene.trueMs - HOUR + 2_000);
    expect(scene.isRight(scene.calls(80, 1_000))).toBe(true);
  });

  test('that creeps ahead, half a second with each reply, is followed no further than the tolerance', () => {
    const scene = given();
    for (let n = 0; n < 2_000; n += 1) {
      scene.dateOffMs += 500;
      scene.atMs += 5_000;
      expect(scene.call().upperMs).toBeLessThan(scene.trueMs + 65_000);
    }
  });

  test.each(['America/New_York', 'Asia/Tokyo'])('without its zone is UTC, on a host in %s', (zone) => {
    const before = process.env['TZ'];
    process.env['TZ'] = zone;
    try {
      const scene = new Scene();
      expect(scene.isRight(scene.call({ date: header(scene.trueMs).replace(' GMT', '') }))).toBe(true);
      expect(scene.time().isFirm).toBe(true);
    } finally {
      if (before === undefined) delete process.env['TZ'];
      else process.env['TZ'] = before;
    }
  });

  test.each(['yesterday', '', '0'])('or is none (%j) says nothing', (date) => {
    const scene = given();
    expect(scene.call({ date }).upperMs).toBeLessThan(scene.trueMs + 2_000);
  });
});

describe('what the CRM can have stamped', () => {
  test.each([1, 80])('reaches up to when its clock and ours were set back together, after %i calls', (calls) => {
    const scene = given();
    const setBackAt = scene.trueMs;
    Object.assign(scene, { dateOffMs: -HOUR, wallOffMs: -HOUR });
    scene.calls(calls, 1_000);
    const { stampedUpToMs } = scene.time();
    expect(stampedUpToMs).toBeGreaterThanOrEqual(setBackAt);
    expect(stampedUpToMs).toBeLessThan(scene.trueMs + 2_000);
  });

  test.each([1, 80])('reaches up to the database\'s time for a process that begins after that, after %i calls', (calls) => {
    const scene = begun({ dateOffMs: -HOUR, wallOffMs: -HOUR });
    const beganAt = scene.trueMs;
    scene.calls(calls, 1_000);
    const { stampedUpToMs } = scene.time();
    expect(stampedUpToMs).toBeGreaterThanOrEqual(beganAt);
    expect(stampedUpToMs).toBeLessThan(scene.trueMs + 2_000);
  });

  test('does not reach up to 2099 where the database is there', () => {
    const scene = begun({ databaseOffMs: YEAR_2099 - START });
    expect(scene.time().stampedUpToMs).toBe(scene.time().latestMs);
  });
});

describe('a wall clock that is set', () => {
  test.each([HOUR, -HOUR])('by %i ms in the middle of a call, or for good: no bound moves, and it is reported', (stepMs) => {
    const scene = given();
    expect(scene.isRight(scene.call({ during: () => void (scene.wallOffMs = stepMs) }))).toBe(true);
    expect(scene.isRight(scene.calls(80, 2_000))).toBe(true);
    expect(scene.clock.report(scene.moment())).toMatchObject({ differs: 'wall' });
    scene.wallOffMs = 0;
    expect(scene.isRight(scene.call())).toBe(true);
    expect(scene.clock.report(scene.moment())).toMatchObject({ differs: null });
  });

  test.each([HOUR, -HOUR])('by %i ms in the middle of the very first call', (stepMs) => {
    const scene = new Scene();
    expect(scene.call({ during: () => void (scene.wallOffMs = stepMs) }).upperMs).toBeLessThan(scene.trueMs + 2_000);
    scene.wallOffMs = 0;
    expect(scene.isRight(scene.call())).toBe(true);
  });

  test('from wrong to right in the middle of a call: lowerMs does not lie in the future', () => {
    const scene = given({ wallOffMs: -HOUR, calls: 3 });
    const { lowerMs, upperMs } = scene.call({ during: () => void (scene.wallOffMs = 0) });
    expect(lowerMs).toBeLessThanOrEqual(scene.trueMs - 40);
    expect(upperMs).toBeLessThan(scene.trueMs + 2_000);
  });

  test('an hour behind from the start: everything counts as an hour earlier, and heals with the first call after it is right', () => {
    const scene = given({ wallOffMs: -HOUR, calls: 100 });
    expect(scene.time()).toMatchObject({ isFirm: false });
    expect(scene.call().upperMs).toBeLessThanOrEqual(scene.trueMs - HOUR);
    expect(scene.time().latestMs).toBeGreaterThanOrEqual(scene.trueMs);
    scene.wallOffMs = 0;
    expect(scene.isRight(scene.call())).toBe(true);
  });

  test('an hour ahead from the start: the Date counts, firm after a minute', () => {
    const scene = given({ wallOffMs: HOUR, calls: 80 });
    expect(scene.isRight(scene.call())).toBe(true);
    expect(scene.time()).toMatchObject({ isFirm: true });
  });

  test('in 2099 from the start: the Date counts, but nothing is firm, and a true wall clock heals it', () => {
    const scene = given({ wallOffMs: YEAR_2099 - START, calls: 80 });
    expect(scene.isRight(scene.call())).toBe(true);
    expect(scene.time()).toMatchObject({ isFirm: false });
    scene.wallOffMs = 0;
    expect(scene.isRight(scene.call())).toBe(true);
    expect(scene.time()).toMatchObject({ isFirm: true });
  });

  test('forward, without any Date ever: believed once it has stood for a minute', () => {
    const scene = new Scene();
    scene.call({ date: null });
    scene.wallOffMs = HOUR;
    expect(scene.call({ date: null }).upperMs).toBeLessThan(scene.trueMs + 1_000);
    scene.atMs += 61_000;
    expect(scene.call({ date: null }).upperMs).toBeGreaterThan(scene.trueMs + HOUR - 1_000);
  });
});

describe('a process that begins beside a database', () => {
  test('believes the first reply where all three agree', () => {
    const scene = begun();
    expect([scene.isRight(scene.call()), scene.time().isFirm]).toEqual([true, true]);
  });

  test.each([HOUR, -HOUR])('on a host whose clock is off by %i ms does not believe a single Date that is off as much, and is right after a minute', (offMs) => {
    const scene = begun({ wallOffMs: offMs, dateOffMs: offMs });
    const first = scene.call();
    expect([first.upperMs <= scene.trueMs + 2_000, scene.time().isFirm]).toEqual([true, false]);
    scene.dateOffMs = 0;
    scene.calls(80, 1_000);
    expect([scene.isRight(scene.call()), scene.time().isFirm]).toEqual([true, true]);
  });

  test.each([HOUR, -HOUR])('whose clock is off by %i ms counts as the earliest of all for a minute', (databaseOffMs) => {
    const scene = begun({ databaseOffMs });
    expect(scene.call().upperMs).toBeLessThanOrEqual(scene.trueMs + 2_000 + Math.min(0, databaseOffMs));
    expect(scene.time().isFirm).toBe(false);
    expect([scene.isRight(scene.calls(80, 1_000)), scene.time().isFirm]).toEqual([true, true]);
  });

  test('an hour ahead, both in one: nothing shows it, and the first Date that is right says so at once', () => {
    const scene = begun({ wallOffMs: HOUR, databaseOffMs: HOUR });
    expect(scene.isRight(scene.call())).toBe(true);
  });
});

describe('a monotonic clock that stood still while the machine slept', () => {
  test('all is earlier at first, and right after a minute of replies', () => {
    const scene = given();
    scene.atMs += 8 * HOUR;
    scene.sleptMs += 8 * HOUR;
    expect(scene.call().upperMs).toBeLessThan(scene.trueMs - 7 * HOUR);
    expect(scene.clock.report(scene.moment())).toMatchObject({ differs: 'monotonic' });
    expect(scene.isRight(scene.calls(80, 1_000))).toBe(true);
  });
});

describe('whatever one source does at a time', () => {
  const step = fc.record({ source: fc.constantFrom('wall', 'date', 'sleep', 'none'), offMs: fc.oneof(fc.constantFrom(HOUR, -HOUR, YEAR_2099 - START, -START), fc.integer({ min: -2 * HOUR, max: 2 * HOUR })), calls: fc.integer({ min: 1, max: 40 }), everyMs: fc.integer({ min: 10, max: 20_000 }) });

  test('no bound lies later than it was, and all is right a minute after it ended', () => {
    fc.assert(
      fc.property(fc.array(step, { minLength: 1, maxLength: 6 }), (steps) => {
        const scene = given();
        const isLater = ({ upperMs, lowerMs }: Observed): boolean => upperMs > scene.trueMs + 62_000 || lowerMs > scene.trueMs + 61_000;
        for (const { source, offMs, calls, everyMs } of steps) {
          scene.wallOffMs = source === 'wall' ? offMs : 0;
          scene.dateOffMs = source === 'date' ? offMs : 0;
          if (source === 'sleep') {
            scene.atMs += Math.min(Math.abs(offMs), 20 * HOUR);
            scene.sleptMs += Math.min(Math.abs(offMs), 20 * HOUR);
          }
          for (let n = 0; n < calls; n += 1) {
            expect(isLater(scene.call())).toBe(false);
            expect(scene.time().earliestMs).toBeLessThan(scene.trueMs + 61_000);
            scene.atMs += everyMs;
          }
          Object.assign(scene, { wallOffMs: 0, dateOffMs: 0 });
          scene.calls(100, 1_000);
          expect(Math.abs(scene.call().upperMs - scene.trueMs)).toBeLessThan(125_000);
          expect(scene.isRight(scene.calls(70, 1_000))).toBe(true);
        }
      }),
      { numRuns: 300 },
    );
  });
});
