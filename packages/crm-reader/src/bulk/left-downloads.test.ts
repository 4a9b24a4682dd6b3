import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { expect, test } from 'vitest';

import { removeLeftDownloads } from './bulk-results.ts';

test('downloads of a killed reader are removed, and nothing else; a folder that is not there is made', async () => {
  const folder = join(await mkdtemp(join(tmpdir(), 'lockstep-left-')), 'downloads');
  await removeLeftDownloads(folder);
  for (const name of ['bulk-4711.zip', 'bulk-4712.zip', 'notes.txt']) await writeFile(join(folder, name), 'x');
  await removeLeftDownloads(folder);
  expect(await readdir(folder)).toEqual(['notes.txt']);
  await rm(join(folder, '..'), { recursive: true });
});
