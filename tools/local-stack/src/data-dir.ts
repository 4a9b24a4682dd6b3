import { mkdir, readdir, rm, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { LocalStackError } from './errors.ts';
import { readRecord } from './left-overs.ts';
import { identify, isStillRunning } from './process-identity.ts';

/** The root of the checkout. */
export const checkoutDir = resolve(import.meta.dirname, '..', '..', '..');

/** Where the stack keeps its data by default: a folder of the checkout that git ignores. */
export const defaultDataDir = join(checkoutDir, '.lockstep', 'stack');

/** `absent` also when the folder is empty. `broken`: something is in it, but not what a finished initialisation leaves. */
export type FolderState = 'absent' | 'initialised' | 'broken';

/** What a service's data folder is, judged by its files. */
export async function folderState(dir: string, filesWhenInitialised: readonly string[]): Promise<FolderState> {
  const names = await readdir(dir).catch((error: NodeJS.ErrnoException): string[] => {
    if (error.code === 'ENOENT') return [];
    throw error;
  });
  if (names.length === 0) return 'absent';
  return filesWhenInitialised.every((name) => names.includes(name)) ? 'initialised' : 'broken';
}

/** The error for a folder that cannot be used as it is. @param isForeign whether it belongs to another data folder, and is not to be removed. */
export function brokenFolder(service: string, dir: string, problem: string, { isForeign = false } = {}): LocalStackError {
  const remedy = isForeign
    ? 'Start with --fresh (in code: fresh: true) to begin with an empty one; that folder stays as it is.'
    : 'Remove that folder, or start with --fresh (in code: fresh: true), to begin with an empty one; or restore it from a copy.';
  return new LocalStackError(`The ${service} data in ${dir} cannot be used: ${problem}. ${remedy}`, { code: 'STACK_DATA_BROKEN' });
}

/**
 * Makes this process the only one that runs a stack on the folder.
 * @returns what gives it back.
 * @throws {LocalStackError} `STACK_IN_USE` while the process that has it lives.
 */
export async function claimDataDir(dataDir: string): Promise<() => Promise<void>> {
  await mkdir(dataDir, { recursive: true });
  const file = ownerFile(dataDir);
  const owner = await readRecord(file);
  if (owner !== undefined && (await isStillRunning(owner))) throw inUse(dataDir, `process ${owner.pid}`);
  await rm(file, { force: true });
  await writeFile(file, JSON.stringify((await identify(process.pid)) ?? null), { flag: 'wx' }).catch((error: NodeJS.ErrnoException) => {
    throw error.code === 'EEXIST' ? inUse(dataDir, 'another process just now') : error;
  });
  return () => rm(file, { force: true });
}

/** Whether the folder was claimed by a process that has died without giving it back. */
export async function isAbandoned(dataDir: string): Promise<boolean> {
  const owner = await readRecord(ownerFile(dataDir));
  return owner !== undefined && !(await isStillRunning(owner));
}

const ownerFile = (dataDir: string): string => join(dataDir, 'owner.json');

function inUse(dataDir: string, by: string): LocalStackError {
  return new LocalStackError(`A stack already runs on ${dataDir}, started by ${by}. Stop that one, or pass another data folder.`, { code: 'STACK_IN_USE' });
}
