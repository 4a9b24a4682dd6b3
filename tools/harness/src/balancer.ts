import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { buffer } from 'node:stream/consumers';

import { request } from 'undici';

/** Shares requests out to several servers, one after another, as what stands before several receivers does. */
export type Balancer = { readonly url: string; close(): Promise<void> };

/** @param ports of 127.0.0.1; one that refuses a connection is skipped. */
export async function startBalancer(ports: readonly number[]): Promise<Balancer> {
  let turn = 0;
  const server = createServer((incoming, outgoing) => {
    const first = turn++;
    const inTurn = ports.map((_, at) => ports[(first + at) % ports.length] as number);
    // Whatever else goes wrong, the one who asked sees a connection that broke.
    forward(incoming, outgoing, inTurn).catch(() => outgoing.destroy());
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  return {
    url: `http://127.0.0.1:${typeof address === 'object' ? (address?.port ?? 0) : 0}`,
    close: async () => {
      server.close();
      server.closeAllConnections();
      await once(server, 'close');
    },
  };
}

async function forward(incoming: IncomingMessage, outgoing: ServerResponse, ports: readonly number[]): Promise<void> {
  const { method = 'GET', url = '/', headers: { host: _host, connection: _connection, 'transfer-encoding': _coding, ...headers } } = incoming;
  const body = await buffer(incoming);
  for (const port of ports) {
    // A connection for each request: of one that was kept, no one could know whether the request was taken before it broke.
    const answer = await request(`http://127.0.0.1:${port}${url}`, { method, headers, body, reset: true }).catch(refused);
    if (answer === null) continue;
    outgoing.writeHead(answer.statusCode, { 'content-type': String(answer.headers['content-type'] ?? 'text/plain') }).end(await buffer(answer.body));
    return;
  }
  outgoing.destroy();
}

function refused(error: NodeJS.ErrnoException): null {
  if (error.code === 'ECONNREFUSED') return null;
  throw error;
}
