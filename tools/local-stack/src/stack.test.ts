import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { startStack } from './stack.ts';
import { embeddedEnv, temporaryDataDir } from './testing/embedded-env.ts';

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

describe('a half-made Postgres folder', () => {
  test('is named, with what to do', async () => {
    await mkdir(join(folder.dataDir, 'postgres', 'base'), { recursive: true });
    const start = startStack({ dataDir: folder.dataDir, needs: ['postgres'], env: embeddedEnv });
    await expect(start).rejects.toMatchObject({ code: 'STACK_DATA_BROKEN', message: expect.stringMatching(/postgres cannot be used.*Remove that folder.*--fresh/) });
  });

  test('of another version is named with that version', async () => {
    await mkdir(join(folder.dataDir, 'postgres'));
    await Promise.all(['global', 'pg_wal', 'postgresql.conf'].map((name) => writeFile(join(folder.dataDir, 'postgres', name), '')));
    await writeFile(join(folder.dataDir, 'postgres', 'PG_VERSION'), '15\n');
    const start = startStack({ dataDir: folder.dataDir, needs: ['postgres'], env: embeddedEnv });
    await expect(start).rejects.toMatchObject({ code: 'STACK_DATA_BROKEN', message: expect.stringContaining('PostgreSQL 15 wrote it') });
  });
});
