import closeWithGrace from 'close-with-grace';

import type { Logger } from './logger.ts';

/** Takes what must be closed at the end; it is closed in the reverse order of its coming. */
export type Closers = { add(name: string, close: () => Promise<void> | void): void };

/** Ends the process from inside, for what only a restart can fix. */
export type Fatal = (error: unknown) => void;

/**
 * The life of a process: starts it, waits for SIGINT, SIGTERM or an uncaught error, closes everything in reverse order.
 * Exit code 0 after a signal, 1 after an error or when closing takes longer than the grace.
 * @param graceMs Nx gives a served app 5 s.
 */
export async function runProcess({ name, log, start, graceMs = 4_500 }: { name: string; log: Logger; start: (closers: Closers, fatal: Fatal) => Promise<void>; graceMs?: number }): Promise<void> {
  const closers: { name: string; close: () => Promise<void> | void }[] = [];
  closeWithGrace({ delay: graceMs, logger: false, onTimeout: (delay) => log.error({ delay }, 'closing took too long') }, async ({ err, signal }) => {
    if (err === undefined) log.info({ signal }, `${name} is stopping`);
    else log.fatal({ err }, `${name} cannot go on`);
    for (const closer of closers.toReversed()) await closeOne(closer, log);
  });
  let isFailed = false;
  // Thrown where nothing catches it: that is what ends the process with everything closed, and with exit code 1.
  const fatal: Fatal = (error) => {
    if (isFailed) return;
    isFailed = true;
    setImmediate(() => {
      throw error;
    });
  };
  try {
    await start({ add: (what, closing) => void closers.push({ name: what, close: closing }) }, fatal);
  } catch (error) {
    fatal(error);
  }
}

async function closeOne({ name, close }: { name: string; close: () => Promise<void> | void }, log: Logger): Promise<void> {
  try {
    await close();
  } catch (error) {
    log.error({ err: error, part: name }, 'a part did not close');
  }
}
