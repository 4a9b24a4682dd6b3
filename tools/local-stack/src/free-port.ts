import { once } from 'node:events';
import { createServer } from 'node:net';
import { LocalStackError } from './errors.ts';

/** A TCP port of 127.0.0.1 that is free now. Another process may take it before it is used: use it at once. */
export const freePort = (): Promise<number> => listenOnce(0);

/**
 * The port a service shall listen on: the one asked for if it is free, else any free one. Without the question, a service that
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
  const address = server.address();
  server.close();
  await once(server, 'close');
  return typeof address === 'object' && address !== null ? address.port : port;
}
