import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { isSignedBy } from '@lockstep/consumer';
import { ConsumerFixture, idOf } from '@lockstep/consumer/testing';
import { testKafkaBrokers } from '@lockstep/local-stack';
import { deals } from '@lockstep/modules';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';

/* The consumer as its own process, which is killed where it has done something and not noted it yet. */

const SECRET = 'a secret of the receiver';
const program = fileURLToPath(new URL('testing/on-test-topic.child.ts', import.meta.url));

let fixture: ConsumerFixture;
let folder: string;
let server: Server;
let received: { readonly key: string; readonly dealId: string; readonly isSigned: boolean }[];
let children: Set<ChildProcess>;

beforeEach(async () => {
  fixture = await ConsumerFixture.open(deals);
  folder = await mkdtemp(join(tmpdir(), 'lockstep-deals-won-'));
  received = [];
  children = new Set();
  server = createServer((request, response) => {
    let body = '';
    request.setEncoding('utf8').on('data', (text: string) => (body += text)).on('end', () => {
      const signed = { timestamp: String(request.headers['lockstep-timestamp']), signature: String(request.headers['lockstep-signature']), body };
      received.push({ key: String(request.headers['idempotency-key']), dealId: (JSON.parse(body) as { dealId: string }).dealId, isSigned: isSignedBy(SECRET, signed, { nowMs: Date.now() }) });
      response.end();
    });
  });
  await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve));
});
afterEach(async () => {
  for (const child of children) child.kill('SIGKILL');
  await new Promise((resolve) => void server.close(resolve));
  await fixture.close();
  await rm(folder, { recursive: true, force: true });
});

const file = (): string => join(folder, 'won.ndjson');
const toReceiver = (): NodeJS.ProcessEnv => ({ DEALS_WON_URL: `http://127.0.0.1:${(server.address() as AddressInfo).port}/won`, DEALS_WON_SECRET: SECRET });

/** Starts the process. @returns how it ended. */
function run(env: NodeJS.ProcessEnv): { readonly child: ChildProcess; readonly ended: Promise<number | NodeJS.Signals | null> } {
  const child = spawn(process.execPath, [program], {
    stdio: ['ignore', 'ignore', 'inherit'],
    env: { PATH: process.env['PATH'], LOG_LEVEL: 'silent', LOCKSTEP_LOCAL_STACK: '1', DEALS_WON_PORT: '0', CONSUMER_MAX_BATCH: '20', KAFKA_BROKERS: testKafkaBrokers().join(','), DATABASE_URL: fixture.database.url, TEST_TOPIC: fixture.topic.name, TEST_GROUP: fixture.topic.name, ...env },
  });
  children.add(child);
  return { child, ended: new Promise((resolve) => void child.once('exit', (code, signal) => {
    children.delete(child);
    resolve(code ?? signal);
  })) };
}

const DEALS = 120;
const stages = (stage: string, modified: number) => Array.from({ length: DEALS }, (_, n) => fixture.seen(n, { Stage: stage, Deal_Name: `Deal ${n}`, Amount: '10.5' }, { modified }));
const publishWon = (): Promise<void> => fixture.publish([...stages('Qualification', 0), ...stages('Closed Won', 100), ...stages('Closed Won', 100), ...stages('Negotiation/Review', 50)]);
const allDelivered = async (): Promise<void> => {
  await fixture.caughtUp('deals-won');
  await expect.poll(async () => (await fixture.sql('select count(*)::int from consumer_deals_won.outbox where delivered_at is null'))[0]?.['count'], { timeout: 30_000 }).toBe(0);
};
const allIds = (): string[] => Array.from({ length: DEALS }, (_, n) => idOf(n)).toSorted();

describe.each([['delivery-sent:30'], ['effect-applied:5']])('killed at %s', (place) => {
  test('every deal that is won reaches the receiver, and only what was under way comes twice, with its key', async () => {
    await publishWon();
    expect(await run({ ...toReceiver(), LOCKSTEP_CRASH_AT: place }).ended).toBe('SIGKILL');
    const { child, ended } = run(toReceiver());
    await allDelivered();
    child.kill('SIGINT');
    expect(await ended).toBe(0);
    const byKey = Map.groupBy(received, ({ key }) => key);
    expect([...byKey.values()].map(([first]) => String(first?.dealId)).toSorted()).toEqual(allIds());
    // As many as were on their way at once.
    expect(received.length - byKey.size).toBeLessThanOrEqual(4);
    expect(received.every(({ isSigned }) => isSigned)).toBe(true);
  });
});

describe.each([['lines-appended:2'], ['batch-consumed:3']])('writing a file, killed at %s', (place) => {
  test('the file has a whole line for each deal that is won, once', async () => {
    await publishWon();
    expect(await run({ DEALS_WON_NDJSON: file(), LOCKSTEP_CRASH_AT: place }).ended).toBe('SIGKILL');
    run({ DEALS_WON_NDJSON: file() });
    await allDelivered();
    const lines = (await readFile(file(), 'utf8')).split('\n');
    expect(lines.pop()).toBe('');
    expect(lines.map((line) => (JSON.parse(line) as { dealId: string }).dealId).toSorted()).toEqual(allIds());
  });
});

test('serves health, readiness and metrics, and ends cleanly at SIGINT', async () => {
  await fixture.publish(stages('Closed Won', 0));
  const running = await fixture.start({ definition: { name: 'deals-won', modules: [deals], apply: async () => undefined } });
  await fixture.caughtUp('deals-won');
  const get = async (path: string): Promise<string> => await (await fetch(`${running.url}${path}`)).text();
  expect(await Promise.all([get('/livez'), get('/readyz')])).toEqual(['{"ok":true,"checks":{}}', '{"ok":true,"checks":{"partitions":"ok","postgres":"ok"}}']);
  expect(await get('/metrics')).toContain(`lockstep_consumer_changes_total{module="Deals",kind="created",app="deals-won"} ${DEALS}`);
});
