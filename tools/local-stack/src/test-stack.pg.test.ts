import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { readRecord } from './left-overs.ts';
import { identify } from './process-identity.ts';
import { embeddedEnv, temporaryDataDir } from './testing/embedded-env.ts';

/** A folder of this test's own: another project's run that began at the same time would remove what was killed, as it should. */
let runs: string;
let folder: Awaited<ReturnType<typeof temporaryDataDir>>;

beforeEach(async () => {
  folder = await temporaryDataDir();
  runs = folder.dataDir;
});

afterEach(() => folder.remove());

function testRun(...args: string[]): ChildProcess {
  return spawn(process.execPath, [join(import.meta.dirname, 'testing', 'test-run.ts'), runs, ...args], { env: embeddedEnv, stdio: ['ignore', 'pipe', 'inherit'] });
}

/** The folder of a running test run. */
async function folderOf(run: ChildProcess): Promise<string> {
  for (const name of await readdir(runs)) {
    if ((await readRecord(join(runs, name, 'owner.json')))?.pid === run.pid) return name;
  }
  return expect.unreachable('the run has no folder');
}

describe('a test run on its own Postgres', { timeout: 240_000 }, () => {
  test('that was killed leaves nothing once another one has begun', async () => {
    const killed = testRun();
    await once(killed.stdout as NodeJS.ReadableStream, 'data');
    const name = await folderOf(killed);
    const server = await readRecord(join(runs, name, 'postgres.process.json'));
    killed.kill('SIGKILL');
    await once(killed, 'exit');
    expect(await identify(server?.pid ?? 0)).toBeDefined();
    const [code] = await once(testRun('end'), 'exit');
    expect(code).toBe(0);
    expect(await identify(server?.pid ?? 0)).toBeUndefined();
    expect(await readdir(runs)).not.toContain(name);
  });
});
