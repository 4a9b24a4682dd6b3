import { mkdir, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { startStack } from './stack.ts';
import { clusterOf, embeddedEnv, temporaryDataDir } from './testing/embedded-env.ts';

let folder: Awaited<ReturnType<typeof temporaryDataDir>>;

beforeEach(async () => {
  folder = await temporaryDataDir();
});

afterEach(() => folder.remove());

describe('where the stack comes from', () => {
  test('is the environment for each service it names, and stopping leaves those alone', async () => {
    const stack = await startStack({ env: { KAFKA_BROKERS: 'a:9092, b:9092', DATABASE_URL: 'postgres://somewhere/db' } });
    expect(stack).toMatchObject({
      kafkaBrokers: ['a:9092', 'b:9092'],
      databaseUrl: 'postgres://somewhere/db',
      provider: { kafka: 'environment', postgres: 'environment' },
    });
    await stack.stop();
  });

  test('without Java is one message with the three ways out', async () => {
    const env = { ...embeddedEnv, PATH: folder.dataDir, JAVA_HOME: '' };
    const message = await startStack({ dataDir: folder.dataDir, needs: ['kafka'], env }).catch((error: unknown) => error);
    expect(message).toMatchObject({ code: 'STACK_KAFKA_UNAVAILABLE', retryable: false });
    expect(String(message)).toMatch(/1\. install Java 17 or newer and Maven[^]*2\. run Docker[^]*3\. set KAFKA_BROKERS/);
  });

  test('a folder whose start failed can be started on again', async () => {
    const attempt = () => startStack({ dataDir: folder.dataDir, needs: ['kafka'], env: { ...embeddedEnv, PATH: folder.dataDir, JAVA_HOME: '' } });
    await expect(attempt()).rejects.toMatchObject({ code: 'STACK_KAFKA_UNAVAILABLE' });
    await expect(attempt()).rejects.toMatchObject({ code: 'STACK_KAFKA_UNAVAILABLE' });
  });
});

describe.each([{ isClosed: false }, { isClosed: true }])('a Postgres folder that cannot be used (below a folder that other users cannot enter: $isClosed)', { timeout: 240_000 }, ({ isClosed }) => {
  let dataDir: string;
  let cluster: string;
  const start = (fresh = false) => startStack({ dataDir, needs: ['postgres'], env: embeddedEnv, durable: false, fresh });

  beforeEach(async () => {
    await folder.remove();
    folder = await temporaryDataDir({ isClosed });
    ({ dataDir } = folder);
    cluster = await clusterOf(dataDir);
  });

  test('is named where it really is, with what to do, and --fresh empties it', async () => {
    await mkdir(join(cluster, 'base'), { recursive: true });
    await expect(start()).rejects.toMatchObject({ code: 'STACK_DATA_BROKEN', message: expect.stringMatching(/postgres cannot be used.*Remove that folder.*--fresh/) });
    await expect(start()).rejects.toThrow(cluster);
    await (await start(true)).stop();
    expect(await readdir(await clusterOf(dataDir))).toContain('PG_VERSION');
  });

  test('is named with the version that wrote it', async () => {
    await mkdir(cluster, { recursive: true });
    await Promise.all(['global', 'pg_wal', 'postgresql.conf'].map((name) => writeFile(join(cluster, name), '')));
    await writeFile(join(cluster, 'PG_VERSION'), '15\n');
    await expect(start()).rejects.toMatchObject({ code: 'STACK_DATA_BROKEN', message: expect.stringMatching(/PostgreSQL 15 wrote it/) });
    await expect(start()).rejects.toThrow(cluster);
  });
});
