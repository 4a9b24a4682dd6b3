import { afterEach, beforeEach, describe, expect, test } from 'vitest';

import { drivenClock, realClock } from './clock.ts';
import { type CrmUnderTest, type Json, startCrm } from './crm-under-test.ts';

const HOUR = 3_600_000;
const START = Date.UTC(2026, 0, 1, 10);

describe.each([['forward', HOUR], ['back', -HOUR]])('a clock that is set %s by an hour', (_, stepMs) => {
  test('shows the other time, and wakes no sleeper: spans stay as long as they are', async () => {
    const clock = drivenClock(START);
    const woken: number[] = [];
    void clock.sleep(1_000).then(() => woken.push(clock.nowMs()));
    clock.step(stepMs);
    expect(clock.nowMs()).toBe(START + stepMs);
    await clock.advance(999);
    expect(woken).toEqual([]);
    await clock.advance(1);
    expect(woken).toEqual([START + stepMs + 1_000]);
  });

  test('keeps its distance from the machine\'s, and steps add up', () => {
    const clock = realClock();
    const isAhead = (aheadMs: number): boolean => {
      const [before, now, after] = [Date.now(), clock.nowMs(), Date.now()];
      return now >= before + aheadMs && now <= after + aheadMs;
    };
    clock.step(stepMs);
    expect(isAhead(stepMs)).toBe(true);
    clock.step(-stepMs);
    expect(isAhead(0)).toBe(true);
  });
});

describe('the CRM over HTTP', () => {
  let crm: CrmUnderTest;
  const dateOf = async (path = '/crm/v8/org'): Promise<number> => Date.parse((await crm.get(path)).headers.get('date') ?? '');
  const admin = (path: string, body: object) => crm.send('POST', `/__simulator/${path}`, body);
  const modifiedTime = async (id: string): Promise<string> => (await admin(`records/Leads/${id}`, { City: 'Rome' })).body['Modified_Time'] as string;

  beforeEach(async () => {
    crm = await startCrm({ clock: drivenClock(START) });
  });
  afterEach(() => crm.close());

  test('stepMs sets what records are stamped with and the Date of replies alike, back too', async () => {
    const [id = ''] = crm.crm.firstIds('Leads', 1);
    const { body } = await admin('clock', { stepMs: HOUR });
    expect(body).toEqual({ nowMs: START + HOUR, driven: true });
    expect([await modifiedTime(id), await dateOf()]).toEqual(['2026-01-01T11:00:00Z', START + HOUR]);
    await admin('clock', { stepMs: -2 * HOUR });
    expect([await modifiedTime(id), await dateOf()]).toEqual(['2026-01-01T09:00:00Z', START - HOUR]);
    expect((await crm.get('/__simulator/clock')).body['nowMs']).toBe(START - HOUR);
  });

  test('stepMs sets the machine\'s clock too, which cannot be advanced', async () => {
    await crm.close();
    crm = await startCrm();
    const before = Date.now();
    const { body } = await admin('clock', { stepMs: HOUR });
    expect(body['driven']).toBe(false);
    expect(body['nowMs']).toBeGreaterThanOrEqual(before + HOUR);
    expect(body['nowMs']).toBeLessThanOrEqual(Date.now() + HOUR);
    expect((await admin('clock', { advanceMs: HOUR })).status).toBe(409);
  });

  test('a bulk job ends when it would have, whatever the clock is set to meanwhile', async () => {
    await crm.close();
    const clock = drivenClock(START);
    crm = await startCrm({ clock, jobDelayMs: 1_000 });
    const { body } = await crm.send('POST', '/crm/bulk/v8/read', { query: { module: { api_name: 'Leads' } } });
    const { id } = ((body['data'] as Json[])[0] as Json)['details'] as { id: string };
    const state = async () => (((await crm.get(`/crm/bulk/v8/read/${id}`)).body['data'] as Json[])[0] as Json)['state'] as string;
    await clock.advance(100);
    await admin('clock', { stepMs: -HOUR });
    // The file is written in real time; an hour of the clock would take 36,000 steps.
    const stateAfterStep = async (): Promise<string> => {
      await clock.advance(100);
      return await state();
    };
    await expect.poll(stateAfterStep, { timeout: 10_000 }).toBe('COMPLETED');
  });

  test.each([[{}], [{ stepMs: 'an hour' }], [{ stepMs: HOUR, advanceMs: HOUR }], [{ advanceMs: -1 }]])('refuses %j', async (body) => {
    expect((await admin('clock', body)).status).toBe(400);
  });

  test.each([['ahead', HOUR], ['behind', -HOUR]])('dateAheadMs shows the Date of the API %s, while records are stamped as before', async (_, dateAheadMs) => {
    const [id = ''] = crm.crm.firstIds('Leads', 1);
    await admin('faults', { dateAheadMs });
    expect([await dateOf(), await dateOf('/crm/v8/Leads/deleted'), await modifiedTime(id)]).toEqual([START + dateAheadMs, START + dateAheadMs, '2026-01-01T10:00:00Z']);
    expect(await dateOf('/__simulator/clock')).toBe(START);
    await admin('faults', { dateAheadMs: 0 });
    expect(await dateOf()).toBe(START);
  });

  test('dateAheadMs adds to what the hosts that answer differ by', async () => {
    await admin('faults', { dateAheadMs: HOUR, skewMs: 2_000 });
    const dates = new Set<number>();
    for (let call = 0; call < 30; call++) dates.add((await dateOf()) - START);
    expect([...dates].toSorted((a, b) => a - b)).toEqual([HOUR - 2_000, HOUR, HOUR + 2_000]);
  });
});
