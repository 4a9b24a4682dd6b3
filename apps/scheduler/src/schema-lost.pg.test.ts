import { defaultCatchUpRules } from '@lockstep/completeness';
import type { Admin } from '@lockstep/kafka';
import { createTestDatabase } from '@lockstep/local-stack';
import { leads } from '@lockstep/modules';
import { checkSchema, connect, incidents, migrate, readFreshness } from '@lockstep/postgres';
import { createMetrics } from '@lockstep/telemetry';
import { expect, test } from 'vitest';

import { buildApp } from './app.ts';
import { readStatus } from './status.ts';

test('a schema that is dropped while everything runs is said in plain words, with what brings it back, by every route, and is over once it is back', async () => {
  const testDatabase = await createTestDatabase({ legacySchema: true });
  const db = await connect({ url: testDatabase.url, poolSize: 4 });
  await migrate(db, [leads]);
  const admin = { topicOffsets: () => Promise.resolve([]) } as unknown as Admin;
  const app = buildApp({
    metrics: createMetrics({ app: 'test' }),
    readiness: { postgres: () => checkSchema(db) },
    status: async () => ({ isLeader: true, hintsWaiting: 0, ...(await readStatus({ db, admin, modules: [leads], problems: new Map(), catchUpRules: defaultCatchUpRules, creditRules: { perDay: null, reserve: 0.25 }, budget: { state: () => null } })) }),
    freshness: () => readFreshness(db),
    incidents: (options) => incidents(db).list(options),
    refresh: () => Promise.reject(new Error('another fault')),
    releaseDeletions: () => Promise.resolve(false),
  });
  const answers = () => Promise.all(['/status', '/freshness', '/incidents', '/readyz'].map(async (url) => app.inject({ url })));
  const codes = async (): Promise<number[]> => (await answers()).map(({ statusCode }) => statusCode);
  const plain = /schema "lockstep" of the database was dropped.* start the apps again.*"lockstep rebuild"/;
  try {
    expect(await codes()).toEqual([200, 200, 200, 200]);
    await db.pool.query('drop schema lockstep cascade');
    expect(await codes()).toEqual([503, 503, 503, 503]);
    for (const { body } of await answers()) expect(body.replaceAll('\\"', '"')).toMatch(plain);
    expect((await app.inject({ method: 'POST', url: '/modules/Leads/refresh' })).json()).toMatchObject({ statusCode: 500, message: 'another fault' });
    const restarted = await connect({ url: testDatabase.url, poolSize: 2 });
    await migrate(restarted, [leads]);
    await restarted.close();
    expect(await codes()).toEqual([200, 200, 200, 200]);
  } finally {
    await app.close();
    await db.close();
    await testDatabase.drop();
  }
});
