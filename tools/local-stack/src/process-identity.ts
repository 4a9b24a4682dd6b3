import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { promisify } from 'node:util';

/** What distinguishes a process from a later one that got the same pid. */
export type ProcessIdentity = { readonly pid: number; readonly startMark: string; readonly commandLine: string };

const run = promisify(execFile);

/** The process that has this pid now; undefined when there is none, or only its remains that its parent has not collected. */
export async function identify(pid: number): Promise<ProcessIdentity | undefined> {
  return process.platform === 'linux' ? await fromProc(pid) : await fromPs(pid);
}

/** Whether the recorded process still runs: same pid, same start. A process may rename itself, so its command line is not asked. */
export async function isStillRunning(recorded: ProcessIdentity): Promise<boolean> {
  const now = await identify(recorded.pid);
  return now !== undefined && now.startMark === recorded.startMark;
}

/** As {@link isStillRunning}, and with the recorded command line: the condition for ending a process that is not our child. */
export async function isStillRunningAsRecorded(recorded: ProcessIdentity): Promise<boolean> {
  const now = await identify(recorded.pid);
  return now !== undefined && now.startMark === recorded.startMark && now.commandLine === recorded.commandLine;
}

async function fromProc(pid: number): Promise<ProcessIdentity | undefined> {
  try {
    const stat = await readFile(`/proc/${pid}/stat`, 'utf8');
    // The second field, the name in parentheses, may hold anything; the third is the state, the 22nd the start (proc(5)).
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    if (fields[0] === 'Z' || fields[0] === 'X') return undefined;
    const commandLine = (await readFile(`/proc/${pid}/cmdline`, 'utf8')).replaceAll('\0', ' ').trim();
    return { pid, startMark: fields[19] ?? '', commandLine };
  } catch {
    return undefined; // it ended, before or while it was read
  }
}

async function fromPs(pid: number): Promise<ProcessIdentity | undefined> {
  try {
    const { stdout } = await run('ps', ['-ww', '-o', 'lstart=', '-o', 'args=', '-p', String(pid)], { env: { ...process.env, LC_ALL: 'C' }, timeout: 5_000 });
    // lstart is five words: weekday, month, day, time, year.
    const words = stdout.trim().split(/\s+/);
    return { pid, startMark: words.slice(0, 5).join(' '), commandLine: words.slice(5).join(' ') };
  } catch {
    return undefined;
  }
}
