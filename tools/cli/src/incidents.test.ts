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

test('the status counts open incidents, and says where to read them', () => {
  const module = { module: 'Leads', state: 'in step', channel: null, run: null, behind: 0, parked: 0, incidents: 1, problem: null, catchUp: null, heldDeletions: null };
  expect(statusText({ hintsWaiting: null, incidents: 1, modules: [module], freshness: [] })).toContain('\n2 incidents are open: lockstep incidents\n');
  expect(statusText({ hintsWaiting: null, incidents: 0, modules: [{ ...module, incidents: 0 }], freshness: [] })).not.toContain('lockstep incidents');
});
