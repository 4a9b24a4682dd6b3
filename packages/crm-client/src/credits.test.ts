import { describe, expect, test } from 'vitest';

import { CreditMeter, type CreditsSpent } from './credit-meter.ts';
import { creditsOf, type Priced } from './credits.ts';

describe('the price of a call', () => {
  test.each<[string, Priced, number]>([
    ['a look', { method: 'POST', path: '/crm/v8/coql', maxRows: 100 }, 1],
    ['a query of up to 200 rows', { method: 'POST', path: '/crm/v8/coql', maxRows: 200 }, 1],
    ['a query of up to 1,000 rows', { method: 'POST', path: '/crm/v8/coql', maxRows: 1_000 }, 2],
    ['a query of up to 2,000 rows', { method: 'POST', path: '/crm/v6/coql', maxRows: 2_000 }, 3],
    ['the creation of a bulk job', { method: 'POST', path: '/crm/bulk/v8/read' }, 50],
    ['its status', { method: 'GET', path: '/crm/bulk/v8/read/5725767000000859031' }, 1],
    ['its download', { method: 'GET', path: '/crm/bulk/v8/read/5725767000000859031/result' }, 1],
    ['a page of the deleted list', { method: 'GET', path: '/crm/v8/Leads/deleted' }, 2],
    ['a count', { method: 'GET', path: '/crm/v8/Leads/actions/count' }, 1],
    ['a channel', { method: 'POST', path: '/crm/v8/actions/watch' }, 1],
  ])('%s', (_, call, credits) => {
    expect(creditsOf(call)).toBe(credits);
  });
});

describe('the meter', () => {
  const look = { credits: 1, purpose: 'look', creditsRemaining: null } as const;

  function given() {
    const meter = new CreditMeter();
    const written: CreditsSpent[] = [];
    return { meter, written, flush: () => meter.flush(async (spent) => void written.push(spent)) };
  }

  test('adds up by purpose, and hands each credit over once', async () => {
    const { meter, written, flush } = given();
    meter.note(look);
    meter.note({ credits: 50, purpose: 'bulk-read', creditsRemaining: null });
    meter.note(look);
    await flush();
    await flush();
    expect(written).toEqual([{ credits: { look: 2, 'catch-up': 0, 'bulk-read': 50, retry: 0, other: 0 }, remaining: null }]);
  });

  test('hands over again what could not be written, with what came since', async () => {
    const { meter, written, flush } = given();
    meter.note(look);
    await expect(meter.flush(() => Promise.reject(new Error('away')))).rejects.toThrow('away');
    meter.note(look);
    await flush();
    expect(written.map(({ credits }) => credits.look)).toEqual([2]);
  });

  test('passes on what the CRM said last is left; a call without an answer says nothing', async () => {
    const { meter, written, flush } = given();
    meter.note({ ...look, creditsRemaining: 40 });
    meter.note({ credits: 1, purpose: 'look' });
    await flush();
    meter.note(look);
    await flush();
    expect(written.map(({ remaining }) => remaining)).toEqual([40, null]);
  });
});
