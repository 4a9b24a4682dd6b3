import { expect, test } from 'vitest';

import { incidentsText } from './incidents.ts';
import { statusText } from './status.ts';

const lost = { module: 'Leads', kind: 'channel-lost', openedAt: '2026-05-04T10:00:30.000Z', lastSeenAt: '2026-05-04T10:01:30.000Z', closedAt: null, details: 'the CRM does not list the channel' };

test('incidents are a line each, those of the organisation without a module', () => {
  const low = { ...lost, module: '', kind: 'credits-low', closedAt: '2026-05-04T11:00:00.000Z', details: '5 % are left' };
  expect(incidentsText([lost, low]).split('\n')).toEqual([
    'since (UTC)       until             module  kind          what',
    '2026-05-04 10:00  open              Leads   channel-lost  the CRM does not list the channel',
    '2026-05-04 10:00  2026-05-04 11:00  -       credits-low   5 % are left',
    '',
  ]);
  expect(incidentsText([])).toBe('No incidents.\n');
});

const credits = { perDay: 50_000, spent: { look: 1_000, 'catch-up': 200, 'bulk-read': 76, other: 9 }, left: 48_715, reserve: 12_500, catchUpIntervalMs: 150_000 };

test('the status counts open incidents, and says where to read them', () => {
  const module = { module: 'Leads', state: 'in step', channel: null, run: null, behind: 0, parked: 0, halted: 0, aside: 0, deadLetters: 0, missingFields: 0, incidents: 1, problem: null, catchUp: null, paused: null, heldDeletions: null };
  expect(statusText({ hintsWaiting: null, incidents: 1, credits, modules: [module], freshness: [] })).toContain('\n2 incidents are open: lockstep incidents\n');
  expect(statusText({ hintsWaiting: null, incidents: 0, credits, modules: [{ ...module, incidents: 0 }], freshness: [] })).not.toContain('lockstep incidents');
});

test('the status says what was spent, what is left, and what a bulk read under way takes', () => {
  const run = { kind: 'refresh', state: 'running', pages: 1, pagesPublished: 0, rows: 0, expectedRows: 250_000, plan: { rows: 250_000, pages: 2, credits: 152 }, rowsPerSecond: 0, etaSeconds: null, failure: null };
  const module = { module: 'Leads', state: 'in step', channel: null, run, behind: 0, parked: 0, halted: 0, aside: 0, deadLetters: 0, missingFields: 0, incidents: 0, problem: null, catchUp: null, paused: null, heldDeletions: null };
  const text = statusText({ hintsWaiting: null, incidents: 0, credits, modules: [module], freshness: [] });
  expect(text).toContain('\ncredits of 24 hours: 1,285 spent (look 1,000, catch-up 200, bulk-read 76, other 9); 48,715 of 50,000 are left, 12,500 of them to others; catch-ups every 2.5 min\n');
  expect(text).toContain('\nLeads, refresh: 250,000 rows in 2 pages, up to 152 credits\n');
  expect(statusText({ hintsWaiting: null, incidents: 0, credits: { ...credits, perDay: null, left: null, reserve: null }, modules: [], freshness: [] })).toContain('no budget is set');
});

test('the status says why changes arrive later than they could', () => {
  const fresh = { module: 'Leads', seenUpTo: null, settledUpTo: null, refreshedAt: null, verifiedAt: null, differences: null, parked: 0, keptAside: 0, deadLetters: 0, missingFields: 0, hidden: 0, unsettled: 0, coarserBecause: 'looks at a module are 20 s apart' };
  expect(statusText({ hintsWaiting: null, incidents: 0, credits, modules: [], freshness: [fresh] })).toContain('\nchanges arrive later, as credits are scarce: looks at a module are 20 s apart\n');
});

test('the status says what a module lacks, by kind, and nothing of a complete one', () => {
  const module = { module: 'Leads', state: 'incomplete', channel: null, run: null, behind: 0, parked: 0, halted: 0, aside: 2, deadLetters: 1_200, missingFields: 0, incidents: 0, problem: null, catchUp: null, paused: null, heldDeletions: null };
  const fresh = { module: 'Leads', seenUpTo: null, settledUpTo: null, refreshedAt: null, verifiedAt: null, differences: null, parked: 3, keptAside: 2, deadLetters: 1_200, missingFields: 0, hidden: 0, unsettled: 0, coarserBecause: null };
  const text = statusText({ hintsWaiting: null, incidents: 0, credits, modules: [module, { ...module, module: 'Deals', state: 'in step', aside: 0, deadLetters: 0 }], freshness: [fresh] });
  expect(text).toContain('\nLeads is not complete: 2 kept aside, 1,200 dead letters\n');
  expect(text).not.toContain('Deals is not complete');
  expect(text).toMatch(/differences +parked +kept aside +dead letters +missing fields +hidden +unsettled\nLeads .* - +3 +2 +1,200 +0 +0 +0\n/);
});
