import { describe, expect, test } from 'vitest';

import { pauseAfterMs, RatePause } from './rate-pause.ts';
import { handTime } from './testing.ts';

describe('the pause after a 429', () => {
  test('is doubled from 1 s to a minute', () => {
    expect([1, 2, 3, 4, 5, 6, 7, 8, 40].map((refusals) => pauseAfterMs(refusals, 0, 0) / 1000)).toEqual([1, 2, 4, 8, 16, 32, 60, 60, 60]);
  });

  test('is shortened by up to half of it by chance', () => {
    expect([pauseAfterMs(4, 0, 0.5), pauseAfterMs(4, 0, 1), pauseAfterMs(9, 179_999, 1)]).toEqual([6_000, 4_000, 30_000]);
  });

  test('is a whole minute once the CRM has refused for three', () => {
    expect(pauseAfterMs(2, 180_000, 1)).toBe(60_000);
  });
});

describe('the client after a 429', () => {
  const never: AbortSignal[] = [];
  function given() {
    const time = handTime();
    const pause = new RatePause(time);
    const passed: string[] = [];
    const pass = (name: string): Promise<void> => pause.pass(never).then(() => void passed.push(name));
    return { time, pause, passed, pass };
  }

  test('sends nothing during the pause, then one call, and the others once that one is answered', async () => {
    const { time, pause, passed, pass } = given();
    pause.refused(time.elapsed());
    const waiting = ['a', 'b', 'c'].map(pass);
    await time.advance(999);
    expect(passed).toEqual([]);
    await time.advance(1);
    expect(passed).toEqual(['a']);
    pause.answered(time.elapsed());
    await Promise.all(waiting);
    expect(passed).toEqual(['a', 'b', 'c']);
  });

  test('takes refusals of calls that were under way together for one', async () => {
    const { time, pause, passed, pass } = given();
    const sentAt = time.elapsed();
    await time.advance(10);
    for (let call = 0; call < 5; call += 1) pause.refused(sentAt);
    const waiting = pass('a');
    await time.advance(1_000);
    await waiting;
    expect(passed).toEqual(['a']);
  });

  test('is not open again because of a call that was sent before the refusal', async () => {
    const { time, pause, passed, pass } = given();
    const sentAt = time.elapsed();
    await time.advance(10);
    pause.refused(time.elapsed());
    pause.answered(sentAt);
    const waiting = pass('a');
    await time.advance(10);
    expect(passed).toEqual([]);
    await time.advance(1_000);
    await waiting;
  });

  test('lets the next call probe where the first had no answer', async () => {
    const { time, pause, passed, pass } = given();
    pause.refused(time.elapsed());
    const waiting = ['a', 'b'].map(pass);
    await time.advance(1_000);
    expect(passed).toEqual(['a']);
    pause.unanswered(time.elapsed());
    await Promise.all(waiting);
    expect(passed).toEqual(['a', 'b']);
  });

  test('refuses a call that would have to wait long', async () => {
    const { time, pause, pass } = given();
    for (let refusals = 0; refusals < 4; refusals += 1) {
      pause.refused(time.elapsed());
      await time.advance(1);
    }
    expect(pause.isLong).toBe(true);
    await expect(pass('a')).rejects.toMatchObject({ code: 'CRM_RATE_LIMITED', retryable: true });
    await time.advance(3_000);
    const waiting = pass('b');
    await time.advance(5_000);
    await waiting;
  });

  test('sends one call a minute to a CRM that goes on refusing', async () => {
    const { time, pause, passed, pass } = given();
    const sentAt: number[] = [];
    pause.refused(time.elapsed());
    let waiting: Promise<void> | undefined;
    while (time.elapsed() < 900_000) {
      await time.advance(1_000);
      if (waiting === undefined && !pause.isLong) waiting = pass('a');
      await time.advance(0);
      if (passed.splice(0).length === 0) continue;
      await waiting;
      waiting = undefined;
      sentAt.push(time.elapsed() / 1_000);
      pause.refused(time.elapsed());
    }
    expect(sentAt.slice(0, 8)).toEqual([1, 3, 7, 15, 31, 63, 123, 183]);
    expect(sentAt.slice(8).map((at, index) => at - (sentAt[index + 7] ?? 0))).toEqual(Array.from({ length: 11 }, () => 60));
  });

  test.each([-3_600_000, 3_600_000])('pauses as long as ever when the wall clock is set by %i ms', async (stepMs) => {
    const { time, pause, passed, pass } = given();
    pause.refused(time.elapsed());
    time.step(stepMs);
    expect(pause.isLong).toBe(false);
    const waiting = pass('a');
    await time.advance(999);
    expect(passed).toEqual([]);
    await time.advance(1);
    await waiting;
    expect(passed).toEqual(['a']);
  });

  test('gives up what waits when the process stops', async () => {
    const { time, pause } = given();
    const stopping = new AbortController();
    pause.refused(time.elapsed());
    const waiting = pause.pass([stopping.signal]);
    stopping.abort();
    await expect(waiting).rejects.toMatchObject({ code: 'CRM_UNREACHABLE' });
  });
});
