import { afterEach, describe, expect, test } from 'vitest';

import { drivenClock } from './clock.ts';
import { type CrmUnderTest, startCrm } from './crm-under-test.ts';

const clock = drivenClock(Date.UTC(2026, 0, 1));
let crm: CrmUnderTest;

afterEach(() => crm.close());

/** Calls that are under way until the clock is moved. */
async function underWay(count: number, call: () => Promise<{ status: number }>): Promise<number[]> {
  crm.crm.setFaults({ slow: 1, slowMs: 1_000 });
  const calls = Array.from({ length: count }, call);
  while (crm.crm.counters().inFlight.calls + crm.crm.counters().refused.calls + crm.crm.counters().refused.queries < count) await turn();
  await clock.advance(1_000);
  crm.crm.setFaults({ slow: 0 });
  return (await Promise.all(calls)).map(({ status }) => status).toSorted((a, b) => a - b);
}
const turn = () => new Promise<void>((resolve) => void setImmediate(resolve));
const query = () => crm.send('POST', '/crm/v8/coql', { select_query: 'select id from Leads where id is not null limit 1' });

describe('calls in flight', () => {
  test('beyond the limit are refused with 429, and there is room again afterwards', async () => {
    crm = await startCrm({ clock, callsInFlight: 3 });
    await crm.get('/crm/v8/org');
    expect(await underWay(5, () => crm.get('/crm/v8/org'))).toEqual([200, 200, 200, 429, 429]);
    expect(crm.crm.counters()).toMatchObject({ refused: { calls: 2 }, peak: { calls: 4 } });
    expect((await crm.get('/crm/v8/org')).status).toBe(200);
  });

  test('queries have a lower limit of their own', async () => {
    crm = await startCrm({ clock, queriesInFlight: 2 });
    await query();
    expect(await underWay(4, query)).toEqual([200, 200, 429, 429]);
    expect(crm.crm.counters().refused).toMatchObject({ queries: 2, calls: 0 });
  });

  test('that are cut or given up are under way no more', async () => {
    crm = await startCrm({ clock });
    await crm.get('/crm/v8/org');
    crm.crm.setFaults({ cut: 1 });
    await expect(crm.get('/crm/v8/org')).rejects.toThrow('fetch failed');
    crm.crm.setFaults({ cut: 0, slow: 1, slowMs: 1_000 });
    const stopping = new AbortController();
    const given = fetch(`${crm.crm.url}/crm/v8/org`, { signal: stopping.signal }).catch(() => undefined);
    while (crm.crm.counters().inFlight.calls < 1) await turn();
    stopping.abort();
    await given;
    while (crm.crm.counters().inFlight.calls > 0) await turn();
    crm.crm.setFaults({ slow: 0 });
  });
});

describe('credits', () => {
  test('that are used up refuse every call until the oldest hours have passed', async () => {
    crm = await startCrm({ clock, credits: 3 });
    for (let call = 0; call < 3; call++) expect((await crm.get('/crm/v8/org')).status).toBe(200);
    expect((await crm.get('/crm/v8/org')).status).toBe(429);
    expect(crm.crm.counters().refused.credits).toBe(1);
    await clock.advance(24 * 3_600_000);
    expect((await crm.get('/crm/v8/org')).status).toBe(200);
  });

  test('left are reported once half of them is used', async () => {
    crm = await startCrm({ clock, credits: 4 });
    expect((await crm.get('/crm/v8/org')).headers.get('x-api-credits-remaining')).toBeNull();
    expect((await crm.get('/crm/v8/org')).headers.get('x-api-credits-remaining')).toBe('2');
  });
});
