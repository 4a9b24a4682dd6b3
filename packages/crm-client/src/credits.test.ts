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
  const at = (text: string): number => Date.parse(`2026-05-04T${text}Z`);
  const look = { credits: 1, purpose: 'look', creditsRemaining: null } as const;

  function given() {
    let now = at('10:59:59');
    const meter = new CreditMeter(() => now);
    const written: CreditsSpent[] = [];
    return { meter, written, moveTo: (text: string) => void (now = at(text)), flush: () => meter.flush(async (spent) => void written.push(...spent)) };
  }

  test('adds up by hour and purpose, and hands each credit over once', async () => {
    const { meter, written, moveTo, flush } = given();
    meter.note(look);
    meter.note({ credits: 50, purpose: 'bulk-read', creditsRemaining: null });
    moveTo('11:00:00');
    meter.note(look);
    await flush();
    await flush();
    expect(written).toEqual([
      { hour: new Date(at('10:00:00')), credits: { look: 1, 'catch-up': 0, 'bulk-read': 50, other: 0 }, remaining: null },
      { hour: new Date(at('11:00:00')), credits: { look: 1, 'catch-up': 0, 'bulk-read': 0, other: 0 }, remaining: null },
    ]);
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
