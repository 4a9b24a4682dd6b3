import { expect, test } from 'vitest';

import { servedProjects } from './under-nx.ts';

test('consumers are served where the environment names them, and only then', () => {
  expect(servedProjects({})).toEqual(['@lockstep/projector', '@lockstep/ingress', '@lockstep/scheduler']);
  expect(servedProjects({ LOCKSTEP_CONSUMERS: 'deals-won, history' }).slice(3)).toEqual(['@lockstep/deals-won', '@lockstep/history']);
});
