import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';

import { createTestDatabase, type TestDatabase } from '@lockstep/local-stack';
import { connect, type Database, incidents, migrate } from '@lockstep/postgres';
import { createLogger, Registry } from '@lockstep/telemetry';
import { SMTPServer } from 'smtp-server';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';

import { Alerter, createAlertCounter } from './alerter.ts';
import { type AlertConfig, loadAlertConfig } from './config.ts';

let testDatabase: TestDatabase;
let db: Database;
let hook: Server;
let smtp: SMTPServer;
let texts: string[];
let mails: string[];
let hookStatus: number;
let count: ReturnType<typeof createAlertCounter>;
const log = createLogger({ app: 'test', level: 'silent', isPretty: false });

beforeAll(async () => {
  testDatabase = await createTestDatabase();
  db = await connect({ url: testDatabase.url, poolSize: 4 });
  await migrate(db, [{ slug: 'leads', apiName: 'Leads' }]);
});
afterAll(async () => {
  await db.close();
  await testDatabase.drop();
});
beforeEach(async () => {
  await db.pool.query('truncate lockstep.incident cascade');
  [texts, mails, hookStatus, count] = [[], [], 200, createAlertCounter(new Registry())];
  hook = createServer((request, reply) => {
    let body = '';
    request.on('data', (chunk: Buffer) => (body += chunk.toString()));
    request.on('end', () => {
      if (hookStatus === 200) texts.push((JSON.parse(body) as { text: string }).text);
      reply.writeHead(hookStatus).end('ok');
    });
  });
  smtp = new SMTPServer({
    authOptional: true,
    disabledCommands: ['STARTTLS'],
    onData: (stream, _, done) => {
      let mail = '';
      stream.on('data', (chunk: Buffer) => (mail += chunk.toString()));
      stream.on('end', () => {
        mails.push(mail);
        done();
      });
    },
  });
  await Promise.all([hook, smtp.server].map((server) => new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve))));
});
afterEach(async () => {
  hook.closeAllConnections();
  await Promise.all([hook, smtp].map((server) => new Promise((resolve) => void server.close(() => resolve(undefined)))));
});

const portOf = (server: { address(): AddressInfo | string | null }): number => (server.address() as AddressInfo).port;
const configOf = (): AlertConfig =>
  loadAlertConfig({ ALERT_WEBHOOK_URL: `http://127.0.0.1:${portOf(hook)}/x`, ALERT_SMTP_URL: `smtp://127.0.0.1:${portOf(smtp.server)}`, ALERT_MAIL_FROM: 'lockstep@example.com', ALERT_MAIL_TO: 'one@example.com, two@example.com' });
const start = (config = configOf()): Promise<Alerter> => Alerter.start({ db, config, count, log });
const open = (kind: 'catch-up-late' | 'channel-lost' = 'catch-up-late') => incidents(db).open('Leads', kind, 'no catch-up since 10:00');
const counted = async (): Promise<Record<string, number>> => Object.fromEntries((await count.get()).values.map(({ labels, value }) => [`${labels.channel} ${labels.outcome}`, value]));

describe('an incident', () => {
  test('is sent once when it opens and once when it closes, by webhook and by mail, with its cause and where to read on', async () => {
    const alerter = await start();
    await open();
    await alerter.round();
    await alerter.round();
    await incidents(db).close('Leads', 'catch-up-late');
    await alerter.round();
    await alerter.round();
    expect(texts).toEqual([
      expect.stringMatching(/^Lockstep: catch-up-late of Leads since \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC\nno catch-up since 10:00\nWhat to do: docs\/runbook.md#catch-up-late$/),
      expect.stringMatching(/^Lockstep: catch-up-late of Leads is over since .* UTC\nIt began at /),
    ]);
    expect(mails).toHaveLength(2);
    expect(mails[0]).toMatch(/^From: lockstep@example.com\r\nTo: one@example.com, two@example.com\r\nSubject: Lockstep: catch-up-late of Leads since /m);
    expect(await counted()).toEqual({ 'webhook sent': 2, 'mail sent': 2 });
  });

  test('that opened and closed between two rounds is sent all the same, the opening first', async () => {
    const alerter = await start();
    await open();
    await incidents(db).close('Leads', 'catch-up-late');
    await alerter.round();
    await alerter.round();
    expect(texts.map((text) => text.includes('is over'))).toEqual([false, true]);
  });

  test('that was over before alerts began is not sent, and none is sent again after a restart', async () => {
    await open('channel-lost');
    await incidents(db).close('Leads', 'channel-lost');
    await (await start()).round();
    expect(texts).toEqual([]);
    await open();
    await (await start()).round();
    await (await start()).round();
    expect(texts).toHaveLength(1);
  });
});

describe('a channel that fails', () => {
  test('holds up no other, is tried again after a pause, and gets each alert once', async () => {
    const alerter = await start();
    hookStatus = 503;
    await open();
    await alerter.round();
    await alerter.round();
    expect([texts.length, mails.length, await counted()]).toEqual([0, 1, { 'webhook failed': 1, 'mail sent': 1 }]);
    expect((await db.pool.query('select tries, failure from lockstep.alert where sent_at is null')).rows).toEqual([{ tries: 1, failure: 'the webhook answered 503' }]);
    hookStatus = 200;
    await db.pool.query('update lockstep.alert set next_at = now()');
    await alerter.round();
    await alerter.round();
    expect([texts.length, mails.length]).toEqual([1, 1]);
  });

  test('waits twice as long after each failure, up to an hour', async () => {
    await open();
    await (await start()).round();
    await db.pool.query(`update lockstep.alert set sent_at = null where channel = 'webhook'`);
    hookStatus = 500;
    const pauses: number[] = [];
    for (let attempt = 0; attempt < 12; attempt += 1) {
      await db.pool.query('update lockstep.alert set next_at = now()');
      await (await start()).round();
      pauses.push(Number((await db.pool.query<{ s: string }>(`select round(extract(epoch from next_at - now())) s from lockstep.alert where channel = 'webhook'`)).rows[0]?.s));
    }
    expect(pauses).toEqual([10, 20, 40, 80, 160, 320, 640, 1280, 2560, 3600, 3600, 3600]);
  });
});

test('without a channel nothing is sent or noted', async () => {
  await open();
  await (await start(loadAlertConfig({}))).round();
  expect((await db.pool.query('select from lockstep.alert')).rowCount).toBe(0);
});

test('a mail server without sender and receiver is refused with what is missing', () => {
  expect(() => loadAlertConfig({ ALERT_SMTP_URL: 'smtp://127.0.0.1' })).toThrow(/ALERT_MAIL_FROM: is missing[^]*ALERT_MAIL_TO: is missing/);
});
