import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

import { createTestDatabase, type TestDatabase } from '@lockstep/local-stack';
import { connect, type Database } from '@lockstep/postgres';
import { createLogger } from '@lockstep/telemetry';
import { afterEach, beforeEach, expect, test } from 'vitest';

import type { BackOff } from './back-off.ts';
import { httpSend, isSignedBy, signatureOf } from './http-send.ts';
import { enqueue } from './outbox.ts';
import { createSchema, schemaOf } from './schema.ts';
import { Sender } from './sender.ts';

const SECRET = 'a secret of the receiver';
const schema = schemaOf('sending');
const log = createLogger({ app: 'test', level: 'silent', isPretty: false });

type Received = { readonly key: string; readonly body: string; readonly atMs: number; readonly isSigned: boolean };

let database: TestDatabase;
let db: Database;
let server: Server;
let port: number;
let received: Received[];
let answer: (body: string) => number;
let senders: Sender[];
let finish: (response: ServerResponse) => void;

beforeEach(async () => {
  database = await createTestDatabase();
  db = await connect({ url: database.url, poolSize: 6 });
  await createSchema(db.pool, { name: 'sending' });
  received = [];
  senders = [];
  answer = () => 200;
  finish = (response) => void response.end('seen');
  await listen(0);
});
afterEach(async () => {
  await Promise.all(senders.map((sender) => sender.close()));
  await hangUp();
  await db.close();
  await database.drop();
});

async function listen(on: number): Promise<void> {
  server = createServer((request, response) => {
    void reply(request, response);
  });
  await new Promise<void>((resolve) => void server.listen(on, '127.0.0.1', resolve));
  port = (server.address() as AddressInfo).port;
}

async function reply(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const body = await bodyOf(request);
  const signed = { timestamp: String(request.headers['lockstep-timestamp']), signature: String(request.headers['lockstep-signature']), body };
  received.push({ key: String(request.headers['idempotency-key']), body, atMs: performance.now(), isSigned: isSignedBy(SECRET, signed, { nowMs: Date.now() }) });
  finish(response.writeHead(answer(body)));
}

async function hangUp(): Promise<void> {
  server.closeAllConnections();
  await new Promise((resolve) => void server.close(resolve));
}

async function bodyOf(request: IncomingMessage): Promise<string> {
  let body = '';
  for await (const chunk of request.setEncoding('utf8')) body += String(chunk);
  return body;
}

/** Stores deliveries, each as its record and what is sent of it. */
async function store(...deliveries: readonly (readonly [id: number, text: string])[]): Promise<void> {
  await enqueue(db.pool, schema, 'topic', deliveries.map(([id, text], at) => ({
    change: { module: 'Deals', id: String(id), kind: 'changed', before: null, after: {}, modifiedAt: new Date(0), deletedAt: null, place: { topic: 't', partition: 0, offset: at }, idempotencyKey: `Deals-${id}-${text}` },
    payload: { text },
  })));
}

const quick: BackOff = { firstMs: 20, maxMs: 10_000, downAfter: 5, maxProbeMs: 200 };

function send(backOff = quick): Sender {
  const sender = new Sender({ db, name: 'sending', schema, send: httpSend({ url: `http://127.0.0.1:${port}/feed`, secret: SECRET }), log, concurrency: 4, timeoutMs: 5_000, keepDeliveredDays: 30, backOff });
  senders.push(sender);
  sender.start();
  return sender;
}

const texts = (): string[] => received.map(({ body }) => (JSON.parse(body) as { text: string }).text);
const waiting = async (): Promise<number> => Number((await db.pool.query<{ count: string }>(`select count(*) from ${schema}.outbox where delivered_at is null`)).rows[0]?.count);
const allDelivered = async (): Promise<void> => await expect.poll(waiting, { timeout: 20_000 }).toBe(0);

test('sends what was stored, signed and with its key, those of one record in order', async () => {
  await store([1, 'a1'], [2, 'b1'], [1, 'a2'], [1, 'a3'], [2, 'b2']);
  send();
  await allDelivered();
  expect(texts().filter((text) => text.startsWith('a'))).toEqual(['a1', 'a2', 'a3']);
  expect(texts().filter((text) => text.startsWith('b'))).toEqual(['b1', 'b2']);
  expect(received.every(({ isSigned }) => isSigned)).toBe(true);
  expect(received.map(({ key }) => key).toSorted()).toEqual(['Deals-1-a1', 'Deals-1-a2', 'Deals-1-a3', 'Deals-2-b1', 'Deals-2-b2']);
});

test('a body that was changed, another secret or an old timestamp is not ours', async () => {
  await store([1, 'a1']);
  send();
  await allDelivered();
  const signed = { timestamp: '1700000000', signature: '', body: '{}' };
  const right = { ...signed, signature: signatureOf(SECRET, signed.timestamp, signed.body) };
  const nowMs = 1_700_000_000_000;
  expect(isSignedBy(SECRET, right, { nowMs })).toBe(true);
  expect(isSignedBy(SECRET, { ...right, body: '{ }' }, { nowMs })).toBe(false);
  expect(isSignedBy('another secret', right, { nowMs })).toBe(false);
  expect(isSignedBy(SECRET, right, { nowMs: nowMs + 301_000 })).toBe(false);
});

test('a poison delivery is tried less and less often, holds back its own record only, and stays visible', async () => {
  answer = (body) => (body.includes('poison') ? 422 : 200);
  await store([1, 'poison'], [1, 'after the poison'], ...Array.from({ length: 30 }, (_, n) => [n + 2, `other ${n}`] as const));
  send();
  await expect.poll(() => texts().filter((text) => text === 'poison').length, { timeout: 20_000 }).toBe(6);
  await expect.poll(waiting).toBe(2);
  expect(texts().filter((text) => text.startsWith('other'))).toHaveLength(30);
  expect(texts()).not.toContain('after the poison');
  const times = received.filter(({ body }) => body.includes('poison')).map(({ atMs }) => atMs);
  const pauses = times.slice(1).map((time, i) => time - (times[i] as number));
  // 20 ms doubled each time, less a quarter of jitter at most.
  expect(pauses.every((pause, i) => pause >= 15 * 2 ** i)).toBe(true);
  const { rows } = await db.pool.query(`select idempotency_key, attempts >= 5 as "isTriedOften", blocked::int, last_error from ${schema}.failing`);
  expect(rows).toEqual([{ idempotency_key: 'Deals-1-poison', isTriedOften: true, blocked: 1, last_error: 'the receiver answered 422: seen' }]);
  answer = () => 200;
  await allDelivered();
  expect(texts().slice(-2)).toEqual(['poison', 'after the poison']);
});

test('a receiver that is down for long is tried by one delivery at a time, and gets everything once it is back', async () => {
  await hangUp();
  await store(...Array.from({ length: 60 }, (_, n) => [n % 20, `${n}`] as const));
  const sender = send();
  await expect.poll(() => isDown(sender)).toBe(true);
  await expect.poll(() => failuresInRow(sender), { timeout: 20_000 }).toBeGreaterThan(14);
  // What fails while the receiver is down does not count against the deliveries.
  const attempts = async (): Promise<number> => Number((await db.pool.query<{ sum: string }>(`select sum(attempts) from ${schema}.outbox`)).rows[0]?.sum);
  expect(await attempts()).toBe(quick.downAfter);
  await listen(port);
  await allDelivered();
  expect(isDown(sender)).toBe(false);
  expect(texts()).toHaveLength(60);
  for (let id = 0; id < 20; id += 1) expect(texts().filter((text) => Number(text) % 20 === id)).toEqual([`${id}`, `${id + 20}`, `${id + 40}`]);
});

test('deliveries that the receiver refuses for good hold back none behind them, however many they are', async () => {
  answer = (body) => (body.includes('poison') ? 422 : 200);
  await store(...Array.from({ length: 12 }, (_, n) => [n, `poison ${n}`] as const), ...Array.from({ length: 3 }, (_, n) => [n + 100, `sound ${n}`] as const));
  send();
  await expect.poll(() => texts().filter((text) => text.startsWith('sound')).length, { timeout: 20_000 }).toBe(3);
  await expect.poll(waiting).toBe(12);
});

test.each([
  ['never comes to its end', (response: ServerResponse): void => void response.write('se')],
  ['has no end', (response: ServerResponse): void => {
    const more = (): void => {
      while (response.write(Buffer.alloc(1 << 16)));
      response.once('drain', more);
    };
    more();
  }],
  ['breaks off', (response: ServerResponse): void => void response.write('se', () => void response.destroy())],
] as const)('what was answered by 200 was delivered, also where the reply %s', async (_, finishSo) => {
  finish = finishSo;
  await store([1, 'a1']);
  send();
  await expect.poll(waiting, { timeout: 4_000 }).toBe(0);
  expect(texts()).toEqual(['a1']);
});

test('what was never tried is sent at once where the clock of the database was put back', async () => {
  await store([1, 'a1']);
  await db.pool.query(`update ${schema}.outbox set next_try_at = now() + interval '1 hour'`);
  send();
  await allDelivered();
  expect(texts()).toEqual(['a1']);
});

test('of two instances one sends, and the other goes on once it has ended', async () => {
  answer = () => 200;
  const first = send();
  await store([1, 'a1']);
  await allDelivered();
  send();
  await store(...Array.from({ length: 50 }, (_, n) => [n, `b${n}`] as const));
  await expect.poll(() => received.length).toBeGreaterThan(5);
  await first.close();
  await allDelivered();
  expect(new Set(received.map(({ key }) => key)).size).toBe(51);
});

/** As the readiness check says. */
function failuresInRow(sender: Sender): number {
  try {
    sender.check();
    return 0;
  } catch (error) {
    return Number(/^(\d+) attempts in a row have failed/.exec((error as Error).message)?.[1]);
  }
}

const isDown = (sender: Sender): boolean => failuresInRow(sender) > 0;
