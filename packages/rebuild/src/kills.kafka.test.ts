import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';

import { testKafkaBrokers } from '@lockstep/local-stack';
import { coverageOf, leads } from '@lockstep/modules';
import { coverage } from '@lockstep/record-log';
import { afterEach, beforeEach, expect, test } from 'vitest';

import { declared, deleted, Fixture, idOf, lead, seen } from './testing.ts';
import { verifyModule } from './verify-module.ts';

/* A rebuild that is killed in any phase leaves what the next one ends right. */

let fixture: Fixture;
let before: unknown;

const stand = (): Promise<unknown> => Promise.all([
  fixture.sql('select * from leads order by id'),
  fixture.sql('select * from lockstep.record_version order by record_id'),
  fixture.sql('select partition, log_offset, code, record_id from lockstep.parked order by partition, log_offset'),
  fixture.sql('select partition, next_offset from lockstep.projection_offset order by partition'),
]);

beforeEach(async () => {
  fixture = await Fixture.open();
  const small = coverage(['Last_Name', 'City']);
  await fixture.publish([
    ...declared(coverageOf(leads)),
    ...declared(small),
    ...Array.from({ length: 300 }, (_, n) => seen(n, lead(n), { modified: n })),
    ...Array.from({ length: 60 }, (_, n) => seen(n, lead(n, { City: 'Rome' }), { modified: 1_000 })),
    ...Array.from({ length: 20 }, (_, n) => deleted(n + 100, 5_000)),
    ...Array.from({ length: 10 }, (_, n) => seen(n + 200, { Last_Name: 'Renamed', City: 'Oslo' }, { modified: 2_000, covered: small })),
    seen(1, lead(1, { Annual_Revenue: '1.001' }), { modified: 2_000 }),
    { id: idOf(3), value: 'no event' },
  ]);
  await fixture.project();
  before = await stand();
});
afterEach(() => fixture.close());

/** Runs a rebuild in a process of its own. @returns what it printed, or the signal that ended it. */
async function rebuild(crashAt?: string): Promise<string> {
  const child = spawn(process.execPath, [join(import.meta.dirname, 'testing', 'rebuild.child.ts'), testKafkaBrokers().join(','), fixture.url, fixture.topic.name], {
    stdio: ['ignore', 'pipe', 'inherit'],
    env: { ...process.env, ...(crashAt === undefined ? {} : { LOCKSTEP_CRASH_AT: crashAt }) },
  });
  let output = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    output += text;
  });
  const [, signal] = (await once(child, 'close')) as [number | null, NodeJS.Signals | null];
  return signal ?? output;
}

test.each(['log-folded', 'log-folded:2', 'partition-sent', 'partition-sent:2', 'partition-loaded', 'partition-loaded:3', 'log-folded:5'])('a lost database comes back after kill -9 at %s', async (place) => {
  await fixture.loseDatabase();
  expect(await rebuild(place)).toBe('SIGKILL');
  expect(await rebuild()).toBe('0');
  expect(await stand()).toEqual(before);
});

test.each(['log-folded:2', 'log-folded:5', 'differences-found', 'differences-written', 'differences-written:2'])('a damaged table is right after kill -9 at %s', async (place) => {
  await fixture.sql(`update leads set company = 'by hand' where id % 3 = 0`);
  await fixture.sql('delete from leads where id % 5 = 0');
  await fixture.sql('delete from lockstep.record_version where record_id % 7 = 0');
  expect(await rebuild(place)).toBe('SIGKILL');
  expect(await rebuild()).toBe('0');
  expect(await stand()).toEqual(before);
  expect((await verifyModule(fixture.deps, fixture.projection(), { topic: fixture.topic.name })).counts).toEqual({});
});
