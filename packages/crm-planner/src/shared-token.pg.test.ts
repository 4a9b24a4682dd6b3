import { createTokenSource, loadCrmConfig, type TokenSource } from '@lockstep/crm-client';
import { type Simulator, startSimulator } from '@lockstep/crm-simulator';
import { createTestDatabase, type TestDatabase } from '@lockstep/local-stack';
import { connect, type Database, migrate, tokenStore } from '@lockstep/postgres';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';

let testDatabase: TestDatabase;
let databases: Database[];
let simulator: Simulator;

beforeEach(async () => {
  testDatabase = await createTestDatabase();
  databases = await Promise.all(Array.from({ length: 3 }, () => connect({ url: testDatabase.url, poolSize: 3 })));
  await migrate(databases[0] as Database, []);
  simulator = await startSimulator({ records: {} });
});
afterEach(async () => {
  await simulator.close();
  await Promise.all(databases.map((db) => db.close()));
  await testDatabase.drop();
});

/** Twelve processes of one installation, as far as their tokens go: each with a memory of its own. */
const processes = (refreshToken = 'simulator'): TokenSource[] => {
  const config = loadCrmConfig({ CRM_API_URL: simulator.url, CRM_ACCOUNTS_URL: simulator.url, CRM_CLIENT_ID: 'simulator', CRM_CLIENT_SECRET: 'simulator', CRM_REFRESH_TOKEN: refreshToken });
  return Array.from({ length: 12 }, (_, at) => createTokenSource({ config, store: tokenStore(databases[at % databases.length] as Database) }));
};

describe('a token that twelve processes share', () => {
  test('is requested once when all of them start', async () => {
    const tokens = await Promise.all(processes().map((source) => source.get()));
    expect(new Set(tokens).size).toBe(1);
    expect(simulator.counters().tokens).toEqual({ issued: 1, throttled: 0, refused: 0 });
  });

  test('is replaced once when all of them find it refused', async () => {
    const sources = processes();
    const [refused = ''] = await Promise.all(sources.map((source) => source.get()));
    simulator.revokeTokens();
    const tokens = await Promise.all(sources.map((source) => source.replace(refused)));
    expect(new Set(tokens).size).toBe(1);
    expect(tokens[0]).not.toBe(refused);
    expect(simulator.counters().tokens.issued).toBe(2);
  });

  test('is requested eight times in ten minutes at most, however often it is refused', async () => {
    const sources = processes();
    let [refused = ''] = await Promise.all(sources.map((source) => source.get()));
    const codes = new Set<string>();
    for (let round = 0; round < 12; round += 1) {
      const replaced = await Promise.all(sources.map((source) => source.replace(refused).catch((error: { code: string }) => error)));
      refused = replaced.find((token) => typeof token === 'string') ?? refused;
      for (const outcome of replaced) codes.add(typeof outcome === 'string' ? 'a token' : outcome.code);
    }
    expect([...codes]).toEqual(['a token', 'CRM_RATE_LIMITED']);
    expect(simulator.counters().tokens).toEqual({ issued: 8, throttled: 0, refused: 0 });
  });

  test('is requested eight times at most when none is ever given', async () => {
    const sources = processes('revoked');
    for (let round = 0; round < 3; round += 1) await Promise.all(sources.map((source) => source.get().catch(() => undefined)));
    expect(simulator.counters().tokens).toEqual({ issued: 0, throttled: 0, refused: 8 });
  });
});
