import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';

/** Shares connections out to several servers, one after another, as what stands before several receivers does. */
export type Balancer = { readonly url: string; close(): Promise<void> };

/** @param ports of 127.0.0.1; one that refuses a connection is passed over. */
export async function startBalancer(ports: readonly number[]): Promise<Balancer> {
  const open = new Set<Socket>();
  let turn = 0;
  const server = createServer((client) => {
    open.add(client.once('close', () => open.delete(client)).on('error', () => undefined));
    const first = turn++;
    const forward = (attempt: number): void => {
      const port = ports[(first + attempt) % ports.length];
      if (port === undefined || attempt >= ports.length) return void client.destroy();
      const upstream = connect(port, '127.0.0.1', () => client.pipe(upstream).pipe(client));
      let isConnected = false;
      upstream.once('connect', () => {
        isConnected = true;
      });
      upstream.on('error', () => (isConnected ? client.destroy() : forward(attempt + 1)));
      client.once('close', () => upstream.destroy());
    };
    forward(0);
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  return {
    url: `http://127.0.0.1:${typeof address === 'object' ? (address?.port ?? 0) : 0}`,
    close: async () => {
      server.close();
      for (const socket of open) socket.destroy();
      await once(server, 'close');
    },
  };
}
