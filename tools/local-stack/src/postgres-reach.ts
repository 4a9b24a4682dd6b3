import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { cp, mkdtemp, readdir, readFile, rename, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { brokenFolder } from './data-dir.ts';
import type { PostgresBinaries } from './postgres-binaries.ts';
import { createElsewhere, elsewhere, ensureOwnFolder, findElsewhere, removeElsewhere, removeUnclaimed } from './postgres-elsewhere.ts';
import type { PostgresUser } from './postgres-user.ts';

/*
 * Postgres runs as another user when we are root, and that user may not be able to enter the checkout or the data folder: one below root's
 * home is closed to others. What it cannot enter, and only that, lies below /var/tmp: a copy of the programs, the cluster, or both.
 */
const run = promisify(execFile);

/** The server's programs where its user can run them; they are copied once where it cannot. */
export async function programsWithinReach(user: PostgresUser | undefined, binaries: PostgresBinaries): Promise<PostgresBinaries> {
  if (user === undefined || (await canPass(user, binaries.postgres))) return binaries;
  await ensureOwnFolder(elsewhere);
  const bin = join(await copyOfPrograms(binaries), 'bin');
  return { initdb: join(bin, 'initdb'), postgres: join(bin, 'postgres') };
}

/**
 * The folder of a data folder's cluster: `postgres` below it, or a place elsewhere where the server's user cannot enter it. A cluster stays where
 * it was made.
 * @param isTemporary whether the cluster may go once the data folder is gone.
 * @throws {LocalStackError} `STACK_DATA_BROKEN`, with the real path, when what is there cannot be used.
 */
export async function clusterWithinReach(user: PostgresUser | undefined, { dataDir, isTemporary, log }: { dataDir: string; isTemporary: boolean; log: (line: string) => void }): Promise<string> {
  const usual = join(dataDir, 'postgres');
  if (user === undefined) return usual;
  const known = await findElsewhere(dataDir);
  if (known === undefined && (await canPass(user, dataDir))) return usual;
  if (known === undefined && (await isInUse(usual))) throw brokenFolder('Postgres', usual, 'the user postgres cannot enter it any more. Open the folders above it to others (chmod o+x)');
  const { cluster } = known ?? (await createElsewhere(dataDir, isTemporary));
  await removeUnclaimed(log);
  log(`the user postgres cannot enter this checkout; the data is in ${cluster}`);
  return cluster;
}

/** Removes a data folder's cluster, wherever it is. Repeating it does nothing. */
export async function removeCluster(dataDir: string): Promise<void> {
  await removeElsewhere(dataDir);
  await rm(join(dataDir, 'postgres'), { recursive: true, force: true });
}

/** Removes a data folder with everything that a stack keeps for it, also the cluster that lies elsewhere. The stack has to be stopped. */
export async function removeStackData(dataDir: string): Promise<void> {
  await removeCluster(dataDir);
  await rm(dataDir, { recursive: true, force: true });
}

const isInUse = (dir: string): Promise<boolean> => readdir(dir).then((names) => names.length > 0, () => false);

async function canPass(user: PostgresUser, path: string): Promise<boolean> {
  return await run('test', ['-x', path], { ...user, cwd: '/' }).then(
    () => true,
    () => false,
  );
}

/**
 * Named by what they are, so that all checkouts share one copy. Copied under another name first: a copy that was cut off is never taken for a
 * whole one, and two at a time do not mix.
 */
async function copyOfPrograms({ postgres }: PostgresBinaries): Promise<string> {
  const to = join(elsewhere, `programs-${createHash('sha256').update(await readFile(postgres)).digest('hex').slice(0, 16)}`);
  if (existsSync(to)) return to;
  const partial = await mkdtemp(`${to}.partial-`);
  const copy = join(partial, 'native');
  await cp(join(dirname(postgres), '..'), copy, { recursive: true, verbatimSymlinks: true });
  await run('chmod', ['-R', 'go+rX', copy]); // an installation under a strict umask is closed to others
  await rename(copy, to).catch((error: unknown) => {
    if (!existsSync(to)) throw error; // else another process was faster
  });
  await rm(partial, { recursive: true, force: true });
  return to;
}
