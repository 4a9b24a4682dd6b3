import { randomInt } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:net';

import { LocalStackError } from './errors.ts';

/*
 * Below what Linux (32768) and others (49152) give to connections that go out: else a port that was free a moment ago may be the near end of
 * one by the time that its service starts.
 */
const [FIRST, BEYOND] = [15_000, 32_000];
const given = new Set<number>();

/** A TCP port of 127.0.0.1 that is free now, and that this process was never given before. */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = randomInt(FIRST, BEYOND);
    if (given.has(port)) continue;
    given.add(port);
    const answer = await listenOnce(port).catch((error: NodeJS.ErrnoException) => error);
    if (typeof answer === 'number') return answer;
    if (answer.code !== 'EADDRINUSE') throw answer;
  }
}

/**
 * The port for a service to listen on: the requested one if it is free, else any free one. Without the question, a service that
 * runs there already would answer in place of the one that fails to start.
 * @throws {LocalStackError} `STACK_PORT_TAKEN`
 */
export async function portFor(service: string, asked: number | undefined): Promise<number> {
  if (asked === undefined) return await freePort();
  return await listenOnce(asked).catch((cause: unknown) => {
    throw new LocalStackError(`${service} cannot listen on 127.0.0.1:${asked} (${String(cause)}). Name another port, or none to get a free one.`, { code: 'STACK_PORT_TAKEN', cause });
  });
}

async function listenOnce(port: number): Promise<number> {
  const server = createServer().listen(port, '127.0.0.1');
  await once(server, 'listening'); // fails on the event "error"
  server.close();
  await once(server, 'close');
  return port;
}
