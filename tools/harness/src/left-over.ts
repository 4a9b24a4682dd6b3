import { readFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';

import { waitUntil } from './wait-until.ts';

/** A process, distinguished from a later one with the same number by its start. */
export type KnownProcess = { readonly pid: number; readonly startTicks: string };

/** @returns null where the system does not show when a process began. */
export function knownProcess(pid: number): KnownProcess | null {
  const startTicks = startOf(pid);
  return startTicks === null ? null : { pid, startTicks };
}

/**
 * Ends what an earlier run that crashed has left behind: the processes its run file names, and no others.
 * @param runFile where `startLockstep` noted them; without it there is nothing to end.
 * @returns how many were ended.
 */
export async function endLeftOver(runFile: string): Promise<number> {
  const known = await readFile(runFile, 'utf8').then((text) => (JSON.parse(text) as { processes?: KnownProcess[] }).processes ?? [], () => []);
  const running = known.filter(({ pid, startTicks }) => startOf(pid) === startTicks);
  for (const { pid } of running) process.kill(pid, 'SIGTERM');
  for (const { pid, startTicks } of running) {
    await waitUntil(`process ${pid} of an earlier run to end`, async () => (startOf(pid) === startTicks ? null : true), { timeoutMs: 15_000 });
  }
  return running.length;
}

// Field 22 of /proc/<pid>/stat; the second, the name, may hold blanks and brackets.
function startOf(pid: number): string | null {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return fields[0] === 'Z' ? null : (fields[19] ?? null);
  } catch {
    return null;
  }
}
