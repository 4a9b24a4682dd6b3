import { execFile } from 'node:child_process';
import { chown, mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import pg from 'pg';
import { ChildService } from './child-service.ts';
import { brokenFolder, folderState } from './data-dir.ts';
import { LocalStackError } from './errors.ts';
import { portFor } from './free-port.ts';
import { endLeftOver } from './left-overs.ts';
import { postgresBinaries } from './postgres-binaries.ts';
import type { PostgresBinaries } from './postgres-binaries.ts';
import { clusterWithinReach, programsWithinReach, removeCluster } from './postgres-reach.ts';
import { postgresUser } from './postgres-user.ts';
import type { PostgresUser } from './postgres-user.ts';
import { restartable } from './restartable.ts';
import type { Crashable, ServiceOptions } from './service.ts';

/**
 * PostgreSQL as a child process.
 *
 * Below the data folder: `postgres/` (the cluster; initialised beside it and renamed, so that it exists only whole) or, where the server's user
 * cannot enter it, `postgres.id` (see `postgres-elsewhere.ts`),
 * `postgres.log` (the server's output), `postgres.process.json` (which process it is).
 */
const run = promisify(execFile);
// Bounds for what hangs: beside other work a start takes many times the usual second.
const readyWithinMs = 120_000;
const initialiseWithinMs = 180_000;
const serverVersion = '18';
/** Superuser, password and database of the stack's own server; it listens on 127.0.0.1 only. */
const credentials = { user: 'lockstep', password: 'lockstep', database: 'legacy' };
const notDurable = ['fsync=off', 'synchronous_commit=off', 'full_page_writes=off'];

/** Starts the server and returns once it answers and its database `legacy` exists. */
export async function startEmbeddedPostgres({ dataDir, port, isFresh, isDurable, env, log }: ServiceOptions): Promise<Crashable & { url: string; stop(): Promise<void> }> {
  const user = await postgresUser();
  const binaries = await programsWithinReach(user, await postgresBinaries());
  const recordFile = join(dataDir, 'postgres.process.json');
  await endLeftOver(recordFile, 'SIGINT', (pid) => log(`ending the Postgres server that an earlier run left behind (process ${pid})`));
  if (isFresh) await removeCluster(dataDir);
  const cluster = await clusterWithinReach(user, { dataDir, isTemporary: !isDurable, log });
  await ensureInitialised(cluster, { binaries, user, isDurable, env });
  const serverPort = await portFor('Postgres', port);
  const settings = ['listen_addresses=127.0.0.1', 'unix_socket_directories=', 'max_connections=200', ...(isDurable ? [] : notDurable)];
  const logFile = join(dataDir, 'postgres.log');
  await rm(logFile, { force: true });
  const service = await restartable(async () => {
    const child = await ChildService.start({
      name: 'Postgres',
      command: binaries.postgres,
      args: ['-D', cluster, '-p', String(serverPort), ...settings.flatMap((setting) => ['-c', setting])],
      env,
      ...(user === undefined ? {} : { user }),
      logFile,
      recordFile,
      stopSignal: 'SIGINT', // "fast": ends the sessions, writes a checkpoint (PostgreSQL manual, "Shutting Down the Server")
    });
    await child.untilReady(() => ensureDatabase(serverPort), readyWithinMs);
    return child;
  });
  return { ...service, url: urlOf(serverPort, credentials.database) };
}

const urlOf = (port: number, database: string): string => `postgres://${credentials.user}:${credentials.password}@127.0.0.1:${port}/${database}`;

/** Fails while the server does not answer. */
async function ensureDatabase(port: number): Promise<void> {
  const client = new pg.Client({ connectionString: urlOf(port, 'postgres'), connectionTimeoutMillis: 5_000 });
  client.on('error', () => undefined); // a server that goes away again shows as the next call's failure
  try {
    await client.connect();
    const { rowCount } = await client.query('select from pg_database where datname = $1', [credentials.database]);
    if (rowCount === 0) await client.query(`create database ${credentials.database}`);
  } finally {
    await client.end().catch(() => undefined);
  }
}

type Initialisation = { binaries: PostgresBinaries; user: PostgresUser | undefined; isDurable: boolean; env: NodeJS.ProcessEnv };

async function ensureInitialised(cluster: string, how: Initialisation): Promise<void> {
  const state = await folderState(cluster, ['PG_VERSION', 'global', 'postgresql.conf', 'pg_wal']);
  if (state === 'broken') throw brokenFolder('Postgres', cluster, 'it is not an initialised cluster (PG_VERSION, global, pg_wal or postgresql.conf is missing)');
  if (state === 'absent') return await initialise(cluster, how);
  const version = (await readFile(join(cluster, 'PG_VERSION'), 'utf8')).trim();
  if (version !== serverVersion) throw brokenFolder('Postgres', cluster, `PostgreSQL ${version} wrote it, and this is PostgreSQL ${serverVersion}`);
}

async function initialise(cluster: string, { binaries, user, isDurable, env }: Initialisation): Promise<void> {
  const beside = `${cluster}.initialising`;
  const passwordFile = `${cluster}.password`;
  await rm(beside, { recursive: true, force: true });
  await mkdir(beside, { mode: 0o700 });
  await writeFile(passwordFile, credentials.password, { mode: 0o600 });
  if (user !== undefined) await Promise.all([beside, passwordFile].map((path) => chown(path, user.uid, user.gid)));
  const flags = ['--encoding=UTF8', '--locale=C', '--auth=scram-sha-256', `--username=${credentials.user}`, `--pwfile=${passwordFile}`];
  try {
    await run(binaries.initdb, [`--pgdata=${beside}`, ...flags, ...(isDurable ? [] : ['--no-sync'])], { ...user, env, cwd: '/', timeout: initialiseWithinMs });
  } catch (cause) {
    const output = (cause as { stderr?: string }).stderr?.trim() ?? '';
    throw new LocalStackError(`Postgres could not be initialised in ${cluster}:\n${output}`, { code: 'STACK_START_FAILED', cause });
  } finally {
    await rm(passwordFile, { force: true });
  }
  await rm(cluster, { recursive: true, force: true });
  await rename(beside, cluster);
}
