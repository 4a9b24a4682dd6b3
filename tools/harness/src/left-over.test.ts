import { spawn } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { expect, onTestFinished, test } from 'vitest';

import { endLeftOver, knownProcess } from './left-over.ts';

test('ends the processes a run file names, and none that only has the same number', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'lockstep-left-'));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  const runFile = join(folder, 'run.json');
  const [left, other] = [0, 1].map(() => spawn(process.execPath, ['-e', 'setInterval(() => undefined, 1000)'], { stdio: 'ignore' }));
  onTestFinished(() => void other?.kill());
  const ended = new Promise((resolve) => left?.once('exit', (_code, signal) => resolve(signal)));
  await writeFile(runFile, JSON.stringify({ processes: [knownProcess(left?.pid ?? 0), { pid: other?.pid, startTicks: '1' }] }));
  expect(await endLeftOver(runFile)).toBe(1);
  expect(await ended).toBe('SIGTERM');
  expect(other?.exitCode).toBeNull();
});

test('without a run file there is nothing to end', async () => {
  expect(await endLeftOver('/nowhere/run.json')).toBe(0);
});
