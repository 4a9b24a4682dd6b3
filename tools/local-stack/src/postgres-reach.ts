import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { cp, lstat, mkdir, mkdtemp, rename, rm, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { LocalStackError } from './errors.ts';
import type { PostgresBinaries } from './postgres-binaries.ts';
import type { PostgresUser } from './postgres-user.ts';

/** The server's programs and the folder of its cluster. */
export type PostgresPlaces = { readonly binaries: PostgresBinaries; readonly cluster: string };

const run = promisify(execFile);
const elsewhere = '/var/tmp/lockstep-postgres'; // unlike /tmp it survives a reboot

/**
 * Postgres runs as another user when we are root, and that user cannot enter a checkout below root's home, which is closed to
 * others. Then, and only then, the programs are copied to a folder of /var/tmp, once, and the cluster lives beside them.
 */
export async function withinReach(user: PostgresUser | undefined, places: PostgresPlaces, log: (line: string) => void): Promise<PostgresPlaces> {
  if (user === undefined) return places;
  const isReached = await Promise.all([canEnter(user, dirname(places.binaries.postgres)), canEnter(user, dirname(places.cluster))]);
  if (!isReached.includes(false)) return places;
  await ownFolder(elsewhere);
  const bin = join(await copyOfPrograms(places.binaries), 'bin');
  const cluster = clusterElsewhere(places.cluster);
  log(`the user postgres cannot enter this checkout; the data is in ${cluster}`);
  return { binaries: { initdb: join(bin, 'initdb'), postgres: join(bin, 'postgres') }, cluster };
}

/** Where {@link withinReach} keeps the cluster of a data folder that the server's user cannot enter. */
export const clusterElsewhere = (cluster: string): string => join(elsewhere, `cluster-${shortHash(cluster)}`);

const shortHash = (text: string): string => createHash('sha256').update(text).digest('hex').slice(0, 16);

async function canEnter(user: PostgresUser, dir: string): Promise<boolean> {
  return await run('test', ['-x', dir], { ...user, cwd: '/' }).then(
    () => true,
    () => false,
  );
}

/** Anybody may write to /var/tmp: a folder that somebody else put there under our name is refused. */
async function ownFolder(dir: string): Promise<void> {
  await mkdir(dir, { mode: 0o755 }).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'EEXIST') throw error;
  });
  const found = await lstat(dir);
  if (found.isDirectory() && found.uid === process.getuid?.()) return;
  throw new LocalStackError(`${dir} belongs to somebody else; remove it, run Docker, or set DATABASE_URL`, { code: 'STACK_POSTGRES_UNAVAILABLE' });
}

/** Copied under another name first: a copy that was cut off is never taken for a whole one, and two at a time do not mix. */
async function copyOfPrograms({ postgres }: PostgresBinaries): Promise<string> {
  const to = join(elsewhere, `programs-${shortHash(`${postgres} ${(await stat(postgres)).mtimeMs}`)}`);
  if (existsSync(to)) return to;
  const partial = await mkdtemp(`${to}.partial-`);
  const copy = join(partial, 'native');
  await cp(join(dirname(postgres), '..'), copy, { recursive: true, verbatimSymlinks: true });
  await rename(copy, to).catch((error: unknown) => {
    if (!existsSync(to)) throw error; // else another process was faster
  });
  await rm(partial, { recursive: true, force: true });
  return to;
}
