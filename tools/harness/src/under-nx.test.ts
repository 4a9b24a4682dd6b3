import { expect, test } from 'vitest';

import { fatalLine, readyUrl, servedProjects } from './under-nx.ts';

test('consumers are served where the environment names them, and only then', () => {
  expect(servedProjects({})).toEqual(['@lockstep/projector', '@lockstep/ingress', '@lockstep/scheduler']);
  expect(servedProjects({ LOCKSTEP_CONSUMERS: 'deals-won, history' }).slice(3)).toEqual(['@lockstep/deals-won', '@lockstep/history']);
  expect(() => servedProjects({ LOCKSTEP_CONSUMERS: 'deals-one' })).toThrow('LOCKSTEP_CONSUMERS names "deals-one", and there is no apps/deals-one');
});

test('a consumer that lacks a variable is named with it', () => {
  const said = 'Error: The configuration is not complete:\n@lockstep/deals-won:   DEALS_WON_URL, DEALS_WON_NDJSON: one of the two has to be set\n';
  expect(fatalLine(`@lockstep/deals-won: ${said}@lockstep/history: {"level":30}\n`)).toBe('The configuration is not complete:\n  deals-won: DEALS_WON_URL, DEALS_WON_NDJSON: one of the two has to be set');
  expect(fatalLine('@lockstep/history: {"level":30}\n')).toBeUndefined();
});

test('a consumer that is ready says where it listens; what another one says is not taken for it', () => {
  const log = '@lockstep/deals-won: {"level":30,"msg":"connected"}\n@lockstep/deals-won: {"level":30,"url":"http://127.0.0.1:8091","msg":"deals-won is ready"}\n@lockstep/history: {"lev';
  expect([readyUrl(log, 'deals-won'), readyUrl(log, 'history')]).toEqual(['http://127.0.0.1:8091', undefined]);
});
