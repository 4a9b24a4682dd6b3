import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { checkoutDir } from './data-dir.ts';
import { readRecord } from './left-overs.ts';
import { identify } from './process-identity.ts';
import { embeddedEnv } from './testing/embedded-env.ts';

const runs = join(checkoutDir, '.lockstep', 'test-runs');

function testRun(...args: string[]): ChildProcess {
  return spawn(process.execPath, [join(import.meta.dirname, 'testing', 'test-run.ts'), ...args], { env: embeddedEnv, stdio: ['ignore', 'pipe', 'inherit'] });
}

/** The folder of a running test run. */
async function folderOf(run: ChildProcess): Promise<string> {
  for (const name of await readdir(runs)) {
    if ((await readRecord(join(runs, name, 'owner.json')))?.pid === run.pid) return name;
  }
  return expect.unreachable('the run has no folder');
}

describe('a test run on its own Postgres', () => {
  test('that was killed leaves nothing once another one has begun', async () => {
    const killed = testRun();
    await once(killed.stdout as NodeJS.ReadableStream, 'data');
    const folder = await folderOf(killed);
    const server = await readRecord(join(runs, folder, 'postgres.process.json'));
    killed.kill('SIGKILL');
    await once(killed, 'exit');
    expect(await identify(server?.pid ?? 0)).toBeDefined();
    const [code] = await once(testRun('end'), 'exit');
    expect(code).toBe(0);
    expect(await identify(server?.pid ?? 0)).toBeUndefined();
    expect(await readdir(runs)).not.toContain(folder);
  });
});
