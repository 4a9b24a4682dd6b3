import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { chmod, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import pg from 'pg';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { withAdmin } from './kafka-admin.ts';
import { readRecord } from './left-overs.ts';
import { identify } from './process-identity.ts';
import { startStack } from './stack.ts';
import type { Stack, StackOptions } from './stack.ts';
import { canEmbedKafka, clusterOf, embeddedEnv, temporaryDataDir } from './testing/embedded-env.ts';

let folder: Awaited<ReturnType<typeof temporaryDataDir>>;
let running: Stack[] = [];

beforeEach(async () => {
  folder = await temporaryDataDir();
});

afterEach(async () => {
  await Promise.all(running.map((stack) => stack.stop()));
  running = [];
  await folder.remove();
}, 120_000);

async function start(options: StackOptions = {}): Promise<Stack> {
  const stack = await startStack({ dataDir: folder.dataDir, durable: false, env: embeddedEnv, ...options });
  running.push(stack);
  return stack;
}

async function query(stack: Stack, sql: string): Promise<unknown[]> {
  const client = new pg.Client({ connectionString: stack.databaseUrl });
  await client.connect();
  try {
    return (await client.query<Record<string, unknown>>(sql)).rows;
  } finally {
    await client.end();
  }
}

const recordOf = (service: string) => readRecord(join(folder.dataDir, `${service}.process.json`));
const createTopic = (stack: Stack, topic: string) => withAdmin(stack.kafkaBrokers, (admin) => admin.createTopics({ waitForLeaders: true, topics: [{ topic }] }));
const topicsOf = (stack: Stack) => withAdmin(stack.kafkaBrokers, async (admin) => (await admin.listTopics()).filter((name) => !name.startsWith('__')));

// Skipped only where Java or Maven is missing: such a machine takes the services from its environment.
// Three starts of a JVM take half a minute beside other work: the time-out only ends what hangs.
describe.skipIf(!canEmbedKafka)('the embedded stack', { timeout: 300_000 }, () => {
  test('finds its data again at the second start, on other ports, unless started with fresh data', async () => {
    const first = await start();
    await createTopic(first, 'kept');
    await query(first, 'create table kept as select 1 as one');
    await first.stop();
    const second = await start();
    expect(second.provider).toEqual({ kafka: 'embedded', postgres: 'embedded' });
    expect(second.kafkaBrokers).not.toEqual(first.kafkaBrokers);
    expect(await topicsOf(second)).toEqual(['kept']);
    expect(await query(second, 'select one from kept')).toEqual([{ one: 1 }]);
    await second.stop();
    const third = await start({ fresh: true });
    expect(await topicsOf(third)).toEqual([]);
    expect(await query(third, `select to_regclass('kept') as kept`)).toEqual([{ kept: null }]);
  });

  test('finds its Postgres data again below a folder that other users cannot enter, and leaves none of it behind', async () => {
    const closed = await temporaryDataDir({ isClosed: true });
    const options = { dataDir: closed.dataDir, needs: ['postgres' as const] };
    const first = await start(options);
    await query(first, 'create table kept as select 1 as one');
    await first.stop();
    const second = await start(options);
    expect(await query(second, 'select one from kept')).toEqual([{ one: 1 }]);
    await second.stop();
    const third = await start({ ...options, fresh: true });
    expect(await query(third, `select to_regclass('kept') as kept`)).toEqual([{ kept: null }]);
    await third.stop();
    const cluster = await clusterOf(closed.dataDir);
    await closed.remove();
    expect(existsSync(cluster)).toBe(false);
  });

  // Only root runs Postgres as another user.
  test.runIf(process.getuid?.() === 0)('does not begin with fresh data unasked when its Postgres data cannot be entered any more', async () => {
    await (await start({ needs: ['postgres'] })).stop();
    await chmod(join(folder.dataDir, '..'), 0o700);
    await expect(start({ needs: ['postgres'] })).rejects.toMatchObject({ code: 'STACK_DATA_BROKEN', message: expect.stringContaining(join(folder.dataDir, 'postgres')) });
    await expect(start({ needs: ['postgres'], fresh: true })).resolves.toBeDefined();
  });

  test('goes on with its data, on the same ports, after a crash of either service', async () => {
    const stack = await start({ durable: true });
    await createTopic(stack, 'kept');
    await query(stack, 'create table kept as select 1 as one');
    for (const service of [stack.crashable.kafka, stack.crashable.postgres]) {
      await service?.kill();
      await service?.restart();
    }
    expect(await topicsOf(stack)).toEqual(['kept']);
    expect(await query(stack, 'select one from kept')).toEqual([{ one: 1 }]);
  });

  test('ends the services of a parent that was killed, by their pids, and goes on with their data', async () => {
    const parent = spawn(process.execPath, [join(import.meta.dirname, 'testing', 'parent.ts'), folder.dataDir], { env: embeddedEnv, stdio: ['ignore', 'pipe', 'inherit'] });
    await once(parent.stdout, 'data');
    const [kafka, postgres] = [await recordOf('kafka'), await recordOf('postgres')];
    await expect(start()).rejects.toMatchObject({ code: 'STACK_IN_USE', message: expect.stringContaining(`process ${parent.pid}`) });
    parent.kill('SIGKILL');
    await once(parent, 'exit');
    expect(await identify(kafka?.pid ?? 0)).toMatchObject({ startMark: kafka?.startMark });
    const lines: string[] = [];
    await start({ log: (line) => lines.push(line) });
    expect(lines.toSorted()).toEqual([expect.stringContaining(`Kafka broker that an earlier run left behind (process ${kafka?.pid})`), expect.stringContaining(`(process ${postgres?.pid})`)]);
    expect(await identify(kafka?.pid ?? 0)).toBeUndefined();
    expect(await identify(postgres?.pid ?? 0)).toBeUndefined();
  });

  test('names a half-formatted Kafka folder and what to do, and does not keep Postgres running', async () => {
    await mkdir(join(folder.dataDir, 'kafka'));
    await writeFile(join(folder.dataDir, 'kafka', 'meta.properties'), 'version=1\n');
    await expect(start()).rejects.toMatchObject({ code: 'STACK_DATA_BROKEN', message: expect.stringMatching(/kafka cannot be used.*Remove that folder.*--fresh/) });
    expect(await recordOf('postgres')).toBeUndefined();
    await expect(start({ fresh: true })).resolves.toBeDefined();
  });

  test('takes a format that was cut off for none', async () => {
    await mkdir(join(folder.dataDir, 'kafka.formatting'));
    await writeFile(join(folder.dataDir, 'kafka.formatting', 'meta.properties'), '');
    expect(await topicsOf(await start({ needs: ['kafka'] }))).toEqual([]);
  });

  test('names a folder of another node', async () => {
    await (await start({ needs: ['kafka'] })).stop();
    const file = join(folder.dataDir, 'kafka', 'meta.properties');
    await writeFile(file, (await readFile(file, 'utf8')).replace('node.id=1', 'node.id=7'));
    await expect(start({ needs: ['kafka'] })).rejects.toMatchObject({ code: 'STACK_DATA_BROKEN' });
  });

  test('says with the end of its log why a broker did not start', async () => {
    await (await start({ needs: ['kafka'] })).stop();
    const metadata = join(folder.dataDir, 'kafka', '__cluster_metadata-0');
    await rm(metadata, { recursive: true });
    await writeFile(metadata, 'a file where a folder belongs');
    await expect(start({ needs: ['kafka'] })).rejects.toMatchObject({ code: 'STACK_START_FAILED', message: expect.stringMatching(/kafka\.log:[^]*__cluster_metadata-0/) });
    expect(await recordOf('kafka')).toBeUndefined();
  });

  test('refuses a port that another process listens on', async () => {
    const occupied = createServer().listen(0, '127.0.0.1');
    await once(occupied, 'listening');
    const { port } = occupied.address() as AddressInfo;
    const message = expect.stringContaining(`127.0.0.1:${port}`);
    await expect(start({ needs: ['kafka'], kafkaPort: port })).rejects.toMatchObject({ code: 'STACK_PORT_TAKEN', message });
    await expect(start({ needs: ['postgres'], postgresPort: port })).rejects.toMatchObject({ code: 'STACK_PORT_TAKEN', message });
    occupied.close();
  });

  test('comes up when a file of the cut-off initialisation of Postgres is in the way', async () => {
    await mkdir(join(folder.dataDir, 'postgres.initialising', 'base'), { recursive: true });
    expect(await query(await start({ needs: ['postgres'] }), 'select 1 as one')).toEqual([{ one: 1 }]);
  });
});
