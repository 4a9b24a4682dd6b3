import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { endLeftOver, recordProcess } from './left-overs.ts';
import { identify } from './process-identity.ts';
import { temporaryDataDir } from './testing/embedded-env.ts';

let folder: Awaited<ReturnType<typeof temporaryDataDir>>;
let record: string;
let child: ReturnType<typeof spawn>;

beforeEach(async () => {
  folder = await temporaryDataDir();
  record = join(folder.dataDir, 'process.json');
  child = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)']);
  await once(child, 'spawn');
});

afterEach(async () => {
  child.kill('SIGKILL');
  await folder.remove();
});

describe('a recorded process', () => {
  test('is ended by its pid, and its record goes', async () => {
    await recordProcess(record, child.pid ?? 0);
    const found: number[] = [];
    const ended = once(child, 'exit');
    await endLeftOver(record, 'SIGTERM', (pid) => found.push(pid));
    expect(await ended).toEqual([null, 'SIGTERM']);
    expect(found).toEqual([child.pid]);
    expect(existsSync(record)).toBe(false);
  });

  test.each([{ startMark: '1' }, { commandLine: 'java kafka.Kafka' }])('is not touched when its pid now belongs to another process: %o', async (difference) => {
    await writeFile(record, JSON.stringify({ ...(await identify(child.pid ?? 0)), ...difference }));
    await endLeftOver(record, 'SIGKILL');
    expect(child.exitCode ?? child.signalCode).toBeNull();
    expect(await identify(child.pid ?? 0)).toBeDefined();
  });

  test.each(['', '{', '{"pid":1,"startMark":"1","commandLine":""}', '{"pid":-1,"startMark":"1","commandLine":""}'])('that cannot be read is no process: %s', async (text) => {
    await writeFile(record, text);
    await endLeftOver(record, 'SIGKILL', (pid) => expect.unreachable(`found ${pid}`));
    expect(existsSync(record)).toBe(false);
  });
});
