import { readFile, rm, writeFile } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { z } from 'zod';
import { identify, isStillRunningAsRecorded } from './process-identity.ts';
import type { ProcessIdentity } from './process-identity.ts';

const recordSchema = z.object({ pid: z.int().min(2), startMark: z.string().min(1), commandLine: z.string() });

/** Notes which process serves a data folder, so that a later start can end it if its parent died without doing so. */
export async function recordProcess(file: string, pid: number): Promise<void> {
  const identity = await identify(pid);
  if (identity !== undefined) await writeFile(file, JSON.stringify(identity));
}

/** @returns the recorded process, undefined when there is no readable record. */
export async function readRecord(file: string): Promise<ProcessIdentity | undefined> {
  try {
    return recordSchema.parse(JSON.parse(await readFile(file, 'utf8')));
  } catch {
    return undefined; // absent, or cut off while it was written
  }
}

/**
 * Ends the process an earlier, crashed start left behind: by its recorded pid, and only while that pid is still the same
 * process. First with `signal`, after ten seconds with SIGKILL. Repeating it does nothing.
 * @param onFound called with the pid before it is ended.
 */
export async function endLeftOver(file: string, signal: NodeJS.Signals, onFound: (pid: number) => void = () => undefined): Promise<void> {
  const recorded = await readRecord(file);
  if (recorded !== undefined && (await isStillRunningAsRecorded(recorded))) {
    onFound(recorded.pid);
    await end(recorded, signal);
  }
  await rm(file, { force: true });
}

async function end(recorded: ProcessIdentity, signal: NodeJS.Signals): Promise<void> {
  process.kill(recorded.pid, signal);
  if (await hasEnded(recorded, 10_000)) return;
  process.kill(recorded.pid, 'SIGKILL');
  await hasEnded(recorded, 5_000);
}

async function hasEnded(recorded: ProcessIdentity, withinMs: number): Promise<boolean> {
  const deadline = Date.now() + withinMs;
  while (await isStillRunningAsRecorded(recorded)) {
    if (Date.now() > deadline) return false;
    await delay(50);
  }
  return true;
}
