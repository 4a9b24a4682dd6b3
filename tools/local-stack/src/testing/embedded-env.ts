import { chmod, mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { kafkaRuntime } from '../kafka-jars.ts';
import { clusterWithinReach, removeCluster } from '../postgres-reach.ts';
import { postgresUser } from '../postgres-user.ts';

/** The environment without the services it names and without Docker: what is left is the embedded stack. */
export const embeddedEnv: NodeJS.ProcessEnv = { ...process.env, KAFKA_BROKERS: '', DATABASE_URL: '', DOCKER_HOST: 'unix:///nowhere' };

/** False on a machine without Java or Maven, which runs the other tests on services from its environment. */
export const canEmbedKafka = await kafkaRuntime(embeddedEnv, () => undefined).then(
  () => true,
  () => false,
);

/** A data folder for one test: one that the user postgres can enter, or one in a folder that is closed to others. */
export async function temporaryDataDir({ isClosed = false } = {}): Promise<{ dataDir: string; remove(): Promise<void> }> {
  const parent = await mkdtemp(join(tmpdir(), 'lockstep-stack-'));
  const dataDir = join(parent, 'data');
  await mkdir(dataDir);
  await chmod(parent, isClosed ? 0o700 : 0o755);
  const remove = async (): Promise<void> => {
    await removeCluster(dataDir);
    await rm(parent, { recursive: true, force: true });
  };
  return { dataDir, remove };
}

/** Where the cluster of a data folder is, or will be. */
export const clusterOf = async (dataDir: string): Promise<string> => clusterWithinReach(await postgresUser(), { dataDir, isTemporary: true, log: () => undefined });
