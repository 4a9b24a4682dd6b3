import { readFile } from 'node:fs/promises';

import { expect, test } from 'vitest';

import { freePort } from './free-port.ts';

test('free ports are never the same twice, and none that a connection may be given', async () => {
  const ports: number[] = [];
  for (let times = 0; times < 300; times += 1) ports.push(await freePort());
  expect(new Set(ports).size).toBe(ports.length);
  const [firstOfConnections = 49_152] = await readFile('/proc/sys/net/ipv4/ip_local_port_range', 'utf8').then((range) => range.trim().split(/\s+/).map(Number), () => []);
  expect(Math.max(...ports)).toBeLessThan(firstOfConnections);
});
