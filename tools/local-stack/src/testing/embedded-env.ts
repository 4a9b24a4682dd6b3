import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { kafkaRuntime } from '../kafka-jars.ts';

/** The environment without the services it names and without Docker: what is left is the embedded stack. */
export const embeddedEnv: NodeJS.ProcessEnv = { ...process.env, KAFKA_BROKERS: '', DATABASE_URL: '', DOCKER_HOST: 'unix:///nowhere' };

/** False on a machine without Java or Maven, which runs the other tests on services from its environment. */
export const canEmbedKafka = await kafkaRuntime(embeddedEnv, () => undefined).then(
  () => true,
  () => false,
);

/** A data folder of a test's own that the user postgres can enter, and what removes it. */
export async function temporaryDataDir(): Promise<{ dataDir: string; remove(): Promise<void> }> {
  const dataDir = await mkdtemp(join(tmpdir(), 'lockstep-stack-'));
  await chmod(dataDir, 0o755);
  return { dataDir, remove: () => rm(dataDir, { recursive: true, force: true }) };
}
