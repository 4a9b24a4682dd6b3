import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import { readFile, rm } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { LocalStackError } from './errors.ts';
import { recordProcess } from './left-overs.ts';

/** How to run one service of the stack as a child process. */
export type ChildServiceOptions = {
  /** For messages: `Kafka`, `Postgres`. */
  readonly name: string;
  readonly command: string;
  readonly args: readonly string[];
  readonly env: NodeJS.ProcessEnv;
  /** Runs the child as this user; only root may ask for it. */
  readonly user?: { readonly uid: number; readonly gid: number };
  /** Takes the child's stdout and stderr. */
  readonly logFile: string;
  /** Takes the child's identity while it runs. */
  readonly recordFile: string;
  /** Asks the child to stop and close its files. */
  readonly stopSignal: NodeJS.Signals;
};

const stopWithinMs = 15_000;

/**
 * A running child. It is in a process group of its own, so that Ctrl-C in a terminal reaches us alone and the services outlive
 * the apps that use them until {@link ChildService.stop}.
 */
export class ChildService {
  readonly #options: ChildServiceOptions;
  readonly #child: ChildProcess;
  readonly #ended: Promise<void>;
  readonly #endWithParent: () => void;
  #endedWith: string | undefined;

  private constructor(options: ChildServiceOptions, child: ChildProcess) {
    this.#options = options;
    this.#child = child;
    this.#endWithParent = () => child.kill(options.stopSignal);
    process.once('exit', this.#endWithParent);
    this.#ended = new Promise((resolve) => {
      const end = (reason: string): void => {
        this.#endedWith ??= reason;
        process.off('exit', this.#endWithParent);
        resolve();
      };
      child.once('error', (error) => end(error.message));
      child.once('exit', (code, signal) => end(signal === null ? `exit code ${code}` : `signal ${signal}`));
    });
  }

  static async start(options: ChildServiceOptions): Promise<ChildService> {
    const log = openSync(options.logFile, 'a');
    try {
      const child = spawn(options.command, options.args, { ...options.user, env: options.env, cwd: '/', detached: true, stdio: ['ignore', log, log] });
      const service = new ChildService(options, child);
      if (child.pid !== undefined) await recordProcess(options.recordFile, child.pid);
      return service;
    } finally {
      closeSync(log);
    }
  }

  /**
   * Asks `assertReady` again and again until it does not fail.
   * @throws {LocalStackError} `STACK_START_FAILED` with the end of the log, when the child ends first or time runs out; the child is ended.
   */
  async untilReady(assertReady: () => Promise<void>, withinMs: number): Promise<void> {
    const deadline = Date.now() + withinMs;
    let cause: unknown;
    while (this.#endedWith === undefined && Date.now() < deadline) {
      const attempt = assertReady().then(
        () => true,
        (error: unknown) => {
          cause = error;
          return false;
        },
      );
      if ((await Promise.race([attempt, this.#ended])) === true) return;
      await Promise.race([delay(25), this.#ended]);
    }
    const problem = this.#endedWith === undefined ? `was not ready within ${withinMs / 1000} s (${String(cause)})` : `ended while it started (${this.#endedWith})`;
    await this.stop();
    throw new LocalStackError(`${this.#options.name} ${problem}. The end of ${this.#options.logFile}:\n${await this.#endOfLog()}`, { code: 'STACK_START_FAILED', cause });
  }

  /** Ends the child as a crash does: at once, with nothing written or closed. Repeating it does nothing. */
  async kill(): Promise<void> {
    if (this.#endedWith === undefined) this.#child.kill('SIGKILL');
    await this.#ended;
  }

  /** Stops the child and waits for its end: politely, after 15 seconds by force. Repeating it does nothing. */
  async stop(): Promise<void> {
    if (this.#endedWith === undefined) this.#child.kill(this.#options.stopSignal);
    await Promise.race([this.#ended, delay(stopWithinMs, undefined, { ref: false })]);
    if (this.#endedWith === undefined) this.#child.kill('SIGKILL');
    await this.#ended;
    await rm(this.#options.recordFile, { force: true });
  }

  async #endOfLog(): Promise<string> {
    const text = await readFile(this.#options.logFile, 'utf8').catch(() => '');
    const lines = text.split('\n').filter((line) => line.trim() !== '' && !line.startsWith('\tat ')); // without Java's stack frames
    return lines.length === 0 ? '(it is empty)' : lines.slice(-20).join('\n');
  }
}
