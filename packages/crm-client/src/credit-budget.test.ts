import { type Simulator, type SimulatorOptions, startSimulator } from '@lockstep/crm-simulator';
import { createLogger } from '@lockstep/telemetry';
import { afterEach, describe, expect, test } from 'vitest';

import { createCrmClient, type CrmClient } from './client.ts';
import { loadCrmConfig } from './config.ts';
import { CreditBudget, type CreditStore } from './credit-budget.ts';
import { CreditMeter } from './credit-meter.ts';
import { LearnedLimit } from './learned-limit.ts';
import { memoryCreditStore } from './memory-credit-store.ts';
import { handTime } from './testing.ts';
import { createTokenSource, memoryTokenStore } from './tokens.ts';

const DAY_MS = 86_400_000;
const closers: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).toReversed()) await close();
});

/** A simulator, and processes that share a store. */
async function given({ perDay, ...options }: { perDay: number | null } & Partial<SimulatorOptions>) {
  const simulator: Simulator = await startSimulator({ records: { Leads: 3, Deals: 5 }, ...options });
  closers.push(() => simulator.close());
  const time = handTime();
  const store = memoryCreditStore(() => time.now());
  const process = (over: CreditStore = store) => {
    const config = loadCrmConfig({ CRM_API_URL: simulator.url, CRM_ACCOUNTS_URL: simulator.url, CRM_CLIENT_ID: 'simulator', CRM_CLIENT_SECRET: 'simulator', CRM_REFRESH_TOKEN: 'simulator' });
    const budget = new CreditBudget({ store: over, rules: { perDay, reserve: 0.25 }, time });
    const meter = new CreditMeter();
    const crm = createCrmClient({ config, tokens: createTokenSource({ config, store: memoryTokenStore() }), retries: 0, budget, time, onCall: (report) => meter.note(report) });
    closers.push(() => crm.close());
    return { crm, budget, meter };
  };
  const credits = (): number => simulator.counters().credits;
  return { simulator, time, store, process, credits };
}

const look = (crm: CrmClient) => crm.lookAt({ module: 'Leads', fields: ['Company'], ids: ['5725767000000000001'] });
const window = (crm: CrmClient) => crm.changedSince({ module: 'Leads', fields: ['Company'], since: new Date(0), after: null });
const spent = { code: 'CRM_BUDGET_SPENT', retryable: true };

/** Calls until it is refused. @returns how often it was answered. */
async function untilRefused(call: () => Promise<unknown>): Promise<number> {
  for (let calls = 0; calls < 1_000; calls += 1) {
    const error: unknown = await call().then(() => null, (failure: unknown) => failure);
    if (error === null) continue;
    expect(error).toMatchObject(spent);
    return calls;
  }
  throw new Error('it is never refused');
}

describe('the budget', () => {
  test('binds all processes together: a call that it has no credits for is not sent', async () => {
    // Three quarters of 400 may be spent, a fifth of that at once; looks leave a quarter of it.
    const { process, credits } = await given({ perDay: 400 });
    const [one, other] = [process().crm, process().crm];
    expect(await untilRefused(() => look(one))).toBe(45);
    await expect(look(other)).rejects.toMatchObject(spent);
    expect(credits()).toBe(45);
  });

  test('goes on longest for catch-ups, then for jobs, then for looks', async () => {
    const { process, credits } = await given({ perDay: 400 });
    const { crm } = process();
    await untilRefused(() => look(crm));
    await crm.bulkReadStatus('1').catch(() => undefined);
    expect(credits()).toBe(46);
    for (let calls = 0; calls < 14; calls += 1) await window(crm);
    expect(credits()).toBe(60);
    await expect(crm.bulkReadStatus('2')).rejects.toMatchObject(spent);
    await expect(look(crm)).rejects.toMatchObject(spent);
  });

  test('lets a catch-up wait until its credits have flowed in', async () => {
    const { process, time, credits } = await given({ perDay: 400 });
    const { crm } = process();
    for (let calls = 0; calls < 60; calls += 1) await window(crm);
    const waiting = window(crm);
    for (let seconds = 0; seconds < 330; seconds += 30) await time.advance(30_000);
    expect(credits()).toBe(60);
    await time.advance(60_000);
    await waiting;
    expect(credits()).toBe(61);
  });

  test('is never passed in any 24 hours, however much is called', async () => {
    const { process, time, credits } = await given({ perDay: 400 });
    const { crm } = process();
    const spentBy: number[] = [];
    for (let hour = 0; hour < 40; hour += 1) {
      await untilRefused(() => crm.countRecords('Deals'));
      spentBy.push(credits());
      await time.advance(DAY_MS / 24);
    }
    for (const [hour, sum] of spentBy.entries()) expect(sum - (spentBy[hour - 25] ?? 0)).toBeLessThanOrEqual(300);
    expect(credits()).toBeGreaterThan(400);
  });

  test('gets back what was paid for a call that was not sent', async () => {
    const { process, simulator, time } = await given({ perDay: 40_000 });
    const { crm, budget } = process();
    const level = async (): Promise<number | undefined> => {
      await budget.refresh();
      return budget.state()?.level;
    };
    simulator.setFaults({ tooMany: 1 });
    for (let calls = 0; calls < 5; calls += 1) {
      await look(crm).catch(() => undefined);
      if (calls < 4) await time.advance(10_000);
    }
    const [before, sent] = [await level(), simulator.counters().byStatus[429]];
    // The pause is long by now.
    await expect(look(crm)).rejects.toMatchObject({ code: 'CRM_RATE_LIMITED', message: expect.stringMatching(/was not sent/) });
    expect([await level(), simulator.counters().byStatus[429]]).toEqual([before, sent]);
  });

  test('is kept by what this process knows while the store does not answer, and what was spent is taken later', async () => {
    const { process, store, credits } = await given({ perDay: 400 });
    let isAway = false;
    const { crm, budget } = process({ ...store, draw: (...args) => (isAway ? Promise.reject(new Error('away')) : store.draw(...args)) });
    await look(crm);
    isAway = true;
    expect(await untilRefused(() => look(crm))).toBe(44);
    isAway = false;
    await budget.refresh();
    expect([credits(), budget.state()?.level]).toEqual([45, 15]);
  });
});

describe('retries', () => {
  test('cost one per cent of the day at most, whatever fails for how long, and are counted as such', async () => {
    const { process, simulator, time } = await given({ perDay: 5_000 });
    const { crm, meter } = process();
    simulator.setFaults({ serverError: 1 });
    for (let minute = 0; minute < 1_440; minute += 1) {
      await look(crm).catch(() => undefined);
      await time.advance(60_000);
    }
    let retries = 0;
    await meter.flush(async ({ credits }) => void (retries = credits.retry));
    expect(retries).toBeGreaterThan(40);
    expect(retries).toBeLessThanOrEqual(50);
    // Every ten minutes it is ordinary work again, and shows whether it goes on.
    expect(simulator.counters().byStatus[500]).toBeLessThanOrEqual(50 + 144);
    simulator.setFaults({ serverError: 0 });
    await time.advance(600_000);
    await look(crm);
  }, 60_000);

  test('of one kind make no other kind wait', async () => {
    const { process, simulator } = await given({ perDay: 5_000 });
    const { crm } = process();
    simulator.setFaults({ serverError: 1 });
    await look(crm).catch(() => undefined);
    expect(await untilRefused(() => look(crm).catch((error: { code: string }) => (error.code === 'CRM_BUDGET_SPENT' ? Promise.reject(error) : null)))).toBe(25);
    simulator.setFaults({ serverError: 0 });
    await crm.lookAt({ module: 'Deals', fields: ['Stage'], ids: ['1'] });
    await window(crm);
    await expect(look(crm)).rejects.toMatchObject(spent);
  });
});

describe('the day\'s credits, where they are not configured', () => {
  const log = createLogger({ app: 'test', level: 'silent', isPretty: false });

  test('are those of the edition', async () => {
    const { process, store } = await given({ perDay: null, credits: 62_000 });
    const { crm, budget } = process();
    await new LearnedLimit({ client: crm, store, log }).learn([]);
    await budget.refresh();
    expect([budget.perDay, budget.state()?.capacity]).toEqual([62_000, 62_000 * 0.75 * 0.2]);
  });

  test('are learned from the CRM\'s header once half of them is used, by all processes', async () => {
    const { process } = await given({ perDay: null, credits: 200 });
    const [one, other] = [process(), process()];
    for (let calls = 0; calls < 99; calls += 1) await one.crm.countRecords('Deals');
    expect(one.budget.perDay).toBeNull();
    await one.crm.countRecords('Deals');
    await other.budget.refresh();
    expect([one.budget.perDay, other.budget.perDay]).toEqual([200, 200]);
  });
});

test('what others have spent is not there: looks leave the reserve alone, and a catch-up goes on', async () => {
  const { process, simulator } = await given({ perDay: 400, credits: 400 });
  const { crm, budget } = process();
  budget.learn(90);
  await expect(look(crm)).rejects.toMatchObject(spent);
  await window(crm);
  expect(simulator.counters().credits).toBe(1);
});
