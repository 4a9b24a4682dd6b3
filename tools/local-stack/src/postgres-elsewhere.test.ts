import { existsSync } from 'node:fs';
import { cp, mkdir, mkdtemp, readdir, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { createElsewhere, findElsewhere, removeElsewhere, removeUnclaimed } from './postgres-elsewhere.ts';

const DAY_MS = 24 * 60 * 60_000;
let parent: string;
let root: string;
let dataDir: string;

beforeEach(async () => {
  parent = await mkdtemp(join(tmpdir(), 'lockstep-elsewhere-'));
  [root, dataDir] = [join(parent, 'root'), join(parent, 'checkout')];
  await mkdir(dataDir);
});

afterEach(() => rm(parent, { recursive: true, force: true }));

/** A place with something in its cluster. */
async function made(isTemporary = false): Promise<string> {
  const { cluster } = await createElsewhere(dataDir, isTemporary, root);
  await mkdir(cluster);
  await writeFile(join(cluster, 'PG_VERSION'), '18\n');
  return cluster;
}

const sweep = async (afterMs: number): Promise<string[]> => {
  await removeUnclaimed(() => undefined, root, Date.now() + afterMs);
  return await readdir(root);
};

describe('a cluster elsewhere', () => {
  test('is found again by its data folder', async () => {
    const cluster = await made();
    expect((await findElsewhere(dataDir, root))?.cluster).toBe(cluster);
  });

  test('is not found by a checkout that was cloned again to the same path', async () => {
    const cluster = await made();
    await rm(dataDir, { recursive: true });
    await mkdir(dataDir);
    expect(await findElsewhere(dataDir, root)).toBeUndefined();
    expect(await made()).not.toBe(cluster);
  });

  test('goes with a checkout that was moved', async () => {
    const cluster = await made();
    await rename(dataDir, join(parent, 'moved'));
    expect((await findElsewhere(join(parent, 'moved'), root))?.cluster).toBe(cluster);
    await mkdir(dataDir);
    expect(await findElsewhere(dataDir, root)).toBeUndefined();
  });

  test('is refused to a copy of its checkout, by its path; beginning there with fresh data does not touch it', async () => {
    const cluster = await made();
    const copy = join(parent, 'copy');
    await cp(dataDir, copy, { recursive: true });
    await expect(findElsewhere(copy, root)).rejects.toMatchObject({ code: 'STACK_DATA_BROKEN', message: expect.stringContaining(cluster) });
    await removeElsewhere(copy, root);
    expect(await findElsewhere(copy, root)).toBeUndefined();
    expect((await findElsewhere(dataDir, root))?.cluster).toBe(cluster);
    expect(existsSync(join(cluster, 'PG_VERSION'))).toBe(true);
  });

  test('that is gone, or does not say whose it is, is named and can be begun with fresh data', async () => {
    const cluster = await made();
    await rm(join(cluster, '..', 'owner.json'));
    await expect(findElsewhere(dataDir, root)).rejects.toMatchObject({ code: 'STACK_DATA_BROKEN', message: expect.stringContaining(cluster) });
    await removeElsewhere(dataDir, root);
    expect(existsSync(cluster)).toBe(false);
    expect(await findElsewhere(dataDir, root)).toBeUndefined();
  });

  test('of which the id is damaged is named, and can be begun with fresh data', async () => {
    await made();
    await writeFile(join(dataDir, 'postgres.id'), '12');
    await expect(findElsewhere(dataDir, root)).rejects.toMatchObject({ code: 'STACK_DATA_BROKEN', message: expect.stringContaining('postgres.id') });
    await removeElsewhere(dataDir, root);
    expect(await findElsewhere(dataDir, root)).toBeUndefined();
  });
});

describe('what no data folder claims', () => {
  test('is removed: a temporary cluster after a minute, another one after a week', async () => {
    await made(true);
    expect(await sweep(DAY_MS)).toHaveLength(1);
    await rm(dataDir, { recursive: true });
    expect(await sweep(0)).toHaveLength(1);
    expect(await sweep(2 * 60_000)).toEqual([]);
    await mkdir(dataDir);
    await made();
    await rm(dataDir, { recursive: true });
    expect(await sweep(6 * DAY_MS)).toHaveLength(1);
    expect(await sweep(8 * DAY_MS)).toEqual([]);
  });

  test('stays while a server runs on it', async () => {
    const cluster = await made(true);
    await rm(dataDir, { recursive: true });
    await writeFile(join(cluster, 'postmaster.pid'), `${process.pid}\n${cluster}\n`);
    expect(await sweep(8 * DAY_MS)).toHaveLength(1);
  });

  test('may be an earlier form of a cluster or a copy of programs that was cut off; whole programs stay', async () => {
    for (const name of ['cluster-60b70f025e535479', 'programs-60b70f025e535479', 'programs-60b70f025e535479.partial-x1']) await mkdir(join(root, name), { recursive: true });
    expect(await sweep(8 * DAY_MS)).toEqual(['programs-60b70f025e535479']);
  });
});
