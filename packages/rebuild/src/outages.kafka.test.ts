import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { type Stack, startStack } from '@lockstep/local-stack';
import { coverageOf, leads } from '@lockstep/modules';
import { connect } from '@lockstep/postgres';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';

import { rebuildModule } from './rebuild-module.ts';
import { declared, Fixture, lead, seen } from './testing.ts';
import { verifyModule } from './verify-module.ts';

/* Database and broker go away in the middle of a rebuild, and come back: on a stack of its own. */

let folder: string;
let stack: Stack;
let fixture: Fixture;
let before: unknown;

const stand = (): Promise<unknown> => Promise.all([fixture.sql('select * from leads order by id'), fixture.sql('select * from lockstep.record_version order by record_id')]);

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'lockstep-outages-'));
  const { KAFKA_BROKERS: _brokers, DATABASE_URL: _url, ...env } = process.env;
  stack = await startStack({ dataDir: join(folder, 'stack'), env });
  vi.stubEnv('KAFKA_BROKERS', stack.kafkaBrokers.join(','));
  vi.stubEnv('DATABASE_URL', stack.databaseUrl);
});
afterAll(async () => {
  await stack.stop();
  vi.unstubAllEnvs();
  await rm(folder, { recursive: true, force: true });
});

beforeEach(async () => {
  fixture = await Fixture.open();
  await fixture.publish([...declared(coverageOf(leads)), ...Array.from({ length: 2_000 }, (_, n) => seen(n, lead(n), { modified: n }))]);
  await fixture.project();
  before = await stand();
});
afterEach(() => fixture.close());

/** Rebuilds on connections of its own; something happens once messages were read. */
async function rebuild(onReading?: () => void): Promise<number> {
  const db = await connect({ url: fixture.url, poolSize: 4 });
  try {
    const { after } = await rebuildModule({ ...fixture.deps, pool: db.pool }, fixture.projection(), { topic: fixture.topic.name, ...(onReading === undefined ? {} : { onProgress: onReading }) });
    return after.found.length;
  } finally {
    await db.close();
  }
}

describe.each([
  ['a lost database', () => fixture.loseDatabase()],
  ['a damaged table', () => fixture.sql(`update leads set company = 'by hand' where id % 3 = 0`)],
] as const)('%s', (_, damage) => {
  test('is made right by the next rebuild, where the database ended in the middle of one', async () => {
    await damage();
    let ending: Promise<void> | undefined;
    await expect(rebuild(() => void (ending ??= stack.crashable.postgres?.kill()))).rejects.toThrow(/terminat|connect/i);
    await ending;
    await stack.crashable.postgres?.restart();
    expect(await rebuild()).toBe(0);
    expect(await stand()).toEqual(before);
  });

  test('is made right, where the broker ended in the middle and came back', async () => {
    await damage();
    let restarting: Promise<void> | undefined;
    const restart = async (): Promise<void> => {
      await stack.crashable.kafka?.kill();
      await stack.crashable.kafka?.restart();
    };
    await rebuild(() => void (restarting ??= restart())).catch(() => undefined);
    await restarting;
    expect(await rebuild()).toBe(0);
    expect(await stand()).toEqual(before);
    expect((await verifyModule(fixture.deps, fixture.projection(), { topic: fixture.topic.name })).counts).toEqual({});
  });
});
