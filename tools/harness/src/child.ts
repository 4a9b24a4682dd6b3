import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, mkdirSync, openSync, readFileSync } from 'node:fs';
import { dirname } from 'node:path';

import { HarnessError } from './errors.ts';

/** A process of ours, with its output in a file. */
export type Child = {
  readonly pid: number;
  /** Its exit code or signal, once it has ended. */
  readonly ended: Promise<number | NodeJS.Signals>;
  /** Set while it was not asked to end. */
  readonly isRunning: () => boolean;
  /** Its output, and what was in the file before. */
  log(): string;
  /** The end of its output. */
  logTail(): string;
  kill(signal: NodeJS.Signals): Promise<void>;
  /** SIGTERM, and SIGKILL for what does not end within the time. */
  stop(graceMs?: number): Promise<void>;
};

/** Starts a process; its output is appended to the file. */
export function startChild(command: string, args: readonly string[], { env, logFile, cwd }: { env: NodeJS.ProcessEnv; logFile: string; cwd: string }): Child {
  mkdirSync(dirname(logFile), { recursive: true });
  const output = openSync(logFile, 'a');
  const child: ChildProcess = spawn(command, args, {
    cwd,
    env,
    stdio: ['ignore', output, output],
    // A group of its own: Ctrl-C reaches the process that started it, which ends everything in order.
    detached: true,
  });
  closeSync(output);
  let isRunning = true;
  const ended = new Promise<number | NodeJS.Signals>((resolve) => {
    child.once('error', () => resolve(127));
    child.once('exit', (code, signal) => resolve(code ?? signal ?? 1));
  }).finally(() => {
    isRunning = false;
  });
  const kill = async (signal: NodeJS.Signals): Promise<void> => {
    if (isRunning) child.kill(signal);
    await ended;
  };
  return {
    pid: child.pid ?? 0,
    ended,
    isRunning: () => isRunning,
    log: () => readFileSync(logFile, 'utf8'),
    logTail: () => readFileSync(logFile, 'utf8').slice(-8000),
    kill,
    stop: async (graceMs = 10_000) => {
      const force = setTimeout(() => child.kill('SIGKILL'), graceMs);
      await kill('SIGTERM');
      clearTimeout(force);
    },
  };
}

/** Rejects when the child ends while something is waited for. */
export async function whileRunning<T>(child: Child, name: string, work: Promise<T>): Promise<T> {
  const died = child.ended.then((code) => {
    throw new HarnessError(`${name} ended with ${code} while it started. The end of its log:\n${child.logTail()}`, 'APP_ENDED');
  });
  died.catch(() => undefined);
  return await Promise.race([work, died]);
}
