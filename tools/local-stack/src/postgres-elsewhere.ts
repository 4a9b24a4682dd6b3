import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { chmod, lstat, mkdir, readdir, readFile, realpath, rename, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { brokenFolder } from './data-dir.ts';
import { LocalStackError } from './errors.ts';

/**
 * Where Postgres keeps the cluster of a data folder that its user cannot enter.
 *
 * `/var/tmp/lockstep-postgres/data-<id>/` holds `owner.json` (the data folder it belongs to) and `postgres/` (the cluster); the data
 * folder holds the id in `postgres.id`. A cluster is used only where both name each other: a checkout that was cloned again to the same
 * path has no id and begins empty, a copied one has the id of another folder and is refused, a moved one takes its cluster along.
 */
export const elsewhere = '/var/tmp/lockstep-postgres'; // unlike /tmp it survives a reboot

/** A folder of its own for one data folder's cluster. */
export type ElsewherePlace = { readonly folder: string; readonly cluster: string };

const idFile = (dataDir: string): string => join(dataDir, 'postgres.id');
const ownerFile = (folder: string): string => join(folder, 'owner.json');
const ownerSchema = z.object({ dataDir: z.string().min(1), isTemporary: z.boolean() });
/** How long what no data folder claims is kept: it may be about to be claimed, or its disk may only be unmounted. */
const keepMs = { temporary: 60_000, partial: 60 * 60_000, other: 7 * 24 * 60 * 60_000 };

/**
 * The place that was made for this data folder earlier, undefined when there is none. A moved data folder takes it over.
 * @throws {LocalStackError} `STACK_DATA_BROKEN`, with the place's path, when it is gone or belongs to another data folder.
 */
export async function findElsewhere(dataDir: string, root = elsewhere): Promise<ElsewherePlace | undefined> {
  const id = await readId(dataDir);
  if (id === undefined) {
    if (existsSync(idFile(dataDir))) throw brokenFolder('Postgres', dataDir, `${idFile(dataDir)} holds no id`);
    return undefined;
  }
  const place = placeOf(root, id);
  const owner = await readOwner(place.folder);
  if (owner === undefined) throw brokenFolder('Postgres', place.cluster, `${idFile(dataDir)} names it, and it is gone or does not say whose it is`);
  const own = await realpath(dataDir);
  if (owner.dataDir === own) return place;
  if ((await readId(owner.dataDir)) === id) throw brokenFolder('Postgres', place.cluster, `it belongs to ${owner.dataDir}, of which ${own} is a copy`, { isForeign: true });
  await writeOwner(place.folder, { ...owner, dataDir: own });
  return place;
}

/** Makes a place for this data folder. @param isTemporary whether nothing in it is to be kept once the data folder is gone. */
export async function createElsewhere(dataDir: string, isTemporary: boolean, root = elsewhere): Promise<ElsewherePlace> {
  await ensureOwnFolder(root);
  const id = randomBytes(8).toString('hex');
  const place = placeOf(root, id);
  await mkdir(place.folder);
  await chmod(place.folder, 0o755); // whatever the umask is, the server's user has to get in
  await writeOwner(place.folder, { dataDir: await realpath(dataDir), isTemporary });
  // Last, and whole or not at all, so that an id always names a place that was made.
  await writeFile(`${idFile(dataDir)}.new`, `${id}\n`);
  await rename(`${idFile(dataDir)}.new`, idFile(dataDir));
  return place;
}

/** Removes this data folder's place with its cluster; that of another data folder stays. Repeating it does nothing. */
export async function removeElsewhere(dataDir: string, root = elsewhere): Promise<void> {
  const id = await readId(dataDir);
  const { folder } = placeOf(root, id ?? '');
  const owner = await readOwner(folder);
  const isForeign = owner !== undefined && owner.dataDir !== (await realpath(dataDir)) && (await readId(owner.dataDir)) === id;
  await rm(idFile(dataDir), { force: true });
  if (id !== undefined && !isForeign) await rm(folder, { recursive: true, force: true });
}

/**
 * Removes what no data folder claims any more: temporary clusters after a minute, others when they were last used over a week ago, and
 * copies of programs that were cut off. What a server runs on stays.
 * @param log receives a line for each folder that is removed.
 */
export async function removeUnclaimed(log: (line: string) => void, root = elsewhere, nowMs = Date.now()): Promise<void> {
  for (const name of await readdir(root)) {
    const folder = join(root, name);
    if (!(await isLeftOver(folder, name, nowMs))) continue;
    log(`removing ${folder}, which no data folder claims any more`);
    await rm(folder, { recursive: true, force: true });
  }
}

async function isLeftOver(folder: string, name: string, nowMs: number): Promise<boolean> {
  const unusedMs = await lastUsedMs(folder).then((ms) => nowMs - ms);
  if (name.includes('.partial-')) return unusedMs > keepMs.partial;
  const id = /^(?:data|cluster)-([0-9a-f]{16})$/.exec(name)?.[1];
  if (id === undefined || (await isServed(join(folder, 'postgres'))) || (await isServed(folder))) return false;
  const owner = await readOwner(folder);
  if (owner !== undefined && (await readId(owner.dataDir)) === id) return false;
  return unusedMs > (owner?.isTemporary === true ? keepMs.temporary : keepMs.other);
}

/** The folder and its owner's note change at each start; the cluster's own folder at each start and stop of its server. */
async function lastUsedMs(folder: string): Promise<number> {
  const times = await Promise.all([folder, ownerFile(folder), join(folder, 'postgres')].map((path) => stat(path).then(({ mtimeMs }) => mtimeMs, () => 0)));
  return Math.max(...times);
}

/** Postgres keeps its pid in the first line of postmaster.pid while it runs. */
async function isServed(cluster: string): Promise<boolean> {
  const pid = Number((await readFile(join(cluster, 'postmaster.pid'), 'utf8').catch(() => '')).split('\n')[0]);
  return pid > 0 && (await stat(`/proc/${pid}`).then(() => true, () => process.platform !== 'linux'));
}

const placeOf = (root: string, id: string): ElsewherePlace => ({ folder: join(root, `data-${id}`), cluster: join(root, `data-${id}`, 'postgres') });

async function readId(dataDir: string): Promise<string | undefined> {
  const text = await readFile(idFile(dataDir), 'utf8').catch(() => '');
  return /^[0-9a-f]{16}\n$/.test(text) ? text.trim() : undefined;
}

async function readOwner(folder: string): Promise<z.infer<typeof ownerSchema> | undefined> {
  try {
    return ownerSchema.parse(JSON.parse(await readFile(ownerFile(folder), 'utf8')));
  } catch {
    return undefined; // absent, or cut off while it was written
  }
}

async function writeOwner(folder: string, owner: z.infer<typeof ownerSchema>): Promise<void> {
  await writeFile(ownerFile(folder), JSON.stringify(owner));
}

/** Anyone may write to /var/tmp: a folder that another user put there under our name is refused. */
export async function ensureOwnFolder(dir: string): Promise<void> {
  await mkdir(dir).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'EEXIST') throw error;
  });
  const found = await lstat(dir);
  if (!found.isDirectory() || found.uid !== process.getuid?.()) {
    throw new LocalStackError(`${dir} belongs to another user; remove it, run Docker, or set DATABASE_URL`, { code: 'STACK_POSTGRES_UNAVAILABLE' });
  }
  await chmod(dir, 0o755);
}
