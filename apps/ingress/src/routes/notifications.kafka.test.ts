import { createAdmin, createKafka, createProducer, type Admin, KafkaError, type Producer } from '@lockstep/kafka';
import { createTestTopic, testKafkaBrokers, type TestTopic } from '@lockstep/local-stack';
import { leads } from '@lockstep/modules';
import { channelIdOf, channelToken, notifyPath } from '@lockstep/notifications';
import { createLogger } from '@lockstep/telemetry';
import type { FastifyInstance } from 'fastify';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';

import { buildApp } from '../app.ts';
import { createHintPublisher } from '../hint-publisher.ts';
import { createIngressMetrics } from '../metrics.ts';

const secret = 'a secret of this test only';
const channel = channelIdOf(secret, 'Leads');
const log = createLogger({ app: 'test', level: 'silent', isPretty: false });
const maxBodyBytes = 20_000;

let producer: Producer;
let admin: Admin;
let topic: TestTopic;
let app: FastifyInstance;
let polls = 0;

const appWith = (sender: Pick<Producer, 'send'>): FastifyInstance =>
  buildApp({
    secret,
    modules: [leads],
    maxBodyBytes,
    log,
    metrics: createIngressMetrics(),
    publisher: createHintPublisher(sender, topic.name),
    poll: async () => void (polls += 1),
    readiness: { kafka: () => producer.ping() },
  });

beforeAll(async () => {
  topic = await createTestTopic({ partitions: 2 });
  const kafka = createKafka({ config: { brokers: testKafkaBrokers(), ssl: false, sasl: undefined }, clientId: 'test', log });
  [producer, admin] = await Promise.all([createProducer(kafka), createAdmin(kafka)]);
  app = appWith(producer);
});

afterAll(async () => {
  await app.close();
  await Promise.all([producer.close(), admin.close()]);
  await topic.drop();
});

const stored = async (): Promise<number> => (await admin.topicOffsets(topic.name)).reduce((sum, { high }) => sum + high, 0);
const notification = (more: object = {}): string => JSON.stringify({ server_time: 1_718_117_126_473, query_params: {}, module: 'Leads', resource_uri: 'https://www.zohoapis.com/crm/v2/Leads', ids: ['5725767000003000064'], affected_fields: [], operation: 'update', channel_id: channel, token: channelToken(secret, channel), ...more });
const post = (payload: string, { url = notifyPath(secret), to = app, type = 'application/json' } = {}) => to.inject({ method: 'POST', url, payload, headers: { 'content-type': type } });

describe('a notification', () => {
  test('is answered with 200 once Kafka has a hint for each record, one for duplicates within it', async () => {
    const before = await stored();
    const { statusCode } = await post(notification({ ids: ['5725767000003000064', '5725767000003000065', '5725767000003000064'] }));
    expect(statusCode).toBe(200);
    expect(await stored()).toBe(before + 2);
  });

  test.each(['text/plain', 'application/x-www-form-urlencoded', 'application/json;charset=UTF-8'])('is read as JSON when it says it is %s', async (type) => {
    expect((await post(notification(), { type })).statusCode).toBe(200);
  });

  test('many at once are all stored', async () => {
    const before = await stored();
    const replies = await Promise.all(Array.from({ length: 300 }, (_, i) => post(notification({ ids: [String(5_725_767_000_004_000_000n + BigInt(i))] }))));
    expect(new Set(replies.map(({ statusCode }) => statusCode))).toEqual(new Set([200]));
    expect(await stored()).toBe(before + 300);
  });

  test('with ids that can be no record is taken for the others, and they are counted', async () => {
    const before = await stored();
    const { statusCode } = await post(notification({ ids: ['9223372036854775808', '1; drop table leads', '5725767000003000064', 7] }));
    expect([statusCode, await stored()]).toEqual([200, before + 1]);
    expect((await app.inject('/metrics')).body).toMatch(/lockstep_ingress_impossible_ids_total\{[^}]*module="Leads"[^}]*\} 3/);
  });

  test('of a module that is not configured is taken and nothing is stored', async () => {
    const before = await stored();
    const other = channelIdOf(secret, 'Contacts');
    const { statusCode } = await post(notification({ module: 'Contacts', channel_id: other, token: channelToken(secret, other) }));
    expect([statusCode, await stored()]).toEqual([200, before]);
  });
});

describe('hostile input stores nothing', () => {
  const cases: [string, number, string, { url?: string }?][] = [
    ['a wrong token', 401, notification({ token: 'guess' })],
    ['no token', 401, notification({ token: null })],
    ['the token of another channel', 401, notification({ token: channelToken(secret, '1') })],
    ['a wrong path', 401, notification(), { url: '/notifications/guess' }],
    ['no JSON', 400, '<html>'],
    ['an empty body', 400, ''],
    ['no ids', 400, notification({ ids: [] })],
    ['an id that is no number', 400, notification({ ids: ['1; drop table leads'] })],
    ['an id of twenty digits', 400, notification({ ids: ['57257670000030000640'] })],
    ['ids above 2^63 - 1 only', 400, notification({ ids: ['9223372036854775808', '9999999999999999999'] })],
    ['more ids than any callback has', 413, notification({ ids: Array.from({ length: 10_001 }, (_, i) => String(i + 1)) })],
    ['an unknown operation', 400, notification({ operation: 'truncate' })],
    ['a body that is too large', 413, notification({ affected_fields: ['x'.repeat(maxBodyBytes)] })],
    ['JSON nested without end', 400, '['.repeat(9000)],
    ['a prototype in it', 400, `{"__proto__":{"module":"Leads"}}`],
  ];

  test.each(cases)('%s: %i', async (_, status, body, options) => {
    const before = await stored();
    const reply = await post(body, options);
    expect([reply.statusCode, await stored()]).toEqual([status, before]);
    expect(reply.json()).toMatchObject({ status: 'refused', problem: expect.any(String) as string });
  });
});

describe('while Kafka is away', () => {
  test('a notification is answered with 503 and with the time to come again', async () => {
    const away = appWith({ send: () => Promise.reject(new KafkaError('no answer', 'KAFKA_UNREACHABLE')) });
    const { statusCode, headers } = await post(notification(), { to: away });
    expect([statusCode, headers['retry-after']]).toEqual([503, '5']);
    await away.close();
  });

  test('it is refused at once when too many wait already', async () => {
    const sending = Promise.withResolvers<void>();
    const slow = appWith({ send: () => sending.promise });
    const ids = Array.from({ length: 700 }, (_, i) => String(i + 1));
    // Fastify begins with an injected request when something waits for it.
    const waiting = Array.from({ length: 28 }, () => post(notification({ ids }), { to: slow }).then((reply) => reply));
    expect((await post(notification({ ids }), { to: slow })).statusCode).toBe(503);
    sending.resolve();
    expect(new Set((await Promise.all(waiting)).map(({ statusCode }) => statusCode))).toEqual(new Set([200]));
    await slow.close();
  });
});

describe('other routes', () => {
  test('a bulk callback means "poll now", whatever it holds, for those who know the path', async () => {
    polls = 0;
    expect((await post('{"data":"anything"}', { url: notifyPath(secret).replace('notifications', 'bulk-callbacks') })).statusCode).toBe(200);
    expect((await post('{}', { url: '/bulk-callbacks/guess' })).statusCode).toBe(401);
    expect(polls).toBe(1);
  });

  test('ready, live and metrics report the truth', async () => {
    expect((await app.inject('/livez')).statusCode).toBe(200);
    expect((await app.inject('/readyz')).json()).toEqual({ ok: true, checks: { kafka: 'ok' } });
    expect((await app.inject('/metrics')).body).toContain('lockstep_ingress_notifications_total{status="401",app="ingress"}');
  });
});
