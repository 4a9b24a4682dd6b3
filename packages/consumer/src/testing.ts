import { type Admin, createAdmin, createKafka, createProducer, type KafkaClient, partitionOf, type Producer } from '@lockstep/kafka';
import { createTestDatabase, createTestTopic, type TestDatabase, testKafkaBrokers, type TestTopic, uniqueName } from '@lockstep/local-stack';
import { coverageOf, type ModuleDefinition } from '@lockstep/modules';
import { type Coverage, encodeConfirmed, encodeCoverage, encodeDeleted, encodeSeen, type FieldValue } from '@lockstep/record-log';
import { createLogger } from '@lockstep/telemetry';
import pg from 'pg';

import type { ConsumerConfig } from './config.ts';
import { type ConsumerOptions, type RunningConsumer, startConsumer } from './run-consumer.ts';
import { schemaOf } from './schema.ts';

const START_MS = Date.parse('2026-03-02T10:00:00Z');
const EPSILON_MS = 60_000;

/** An event of the log, and the record it is about. */
export type LogEvent = { readonly id: string; readonly value: string };

/** A content of a record: `modified` and `observed` in seconds after a fixed time. */
export type Sight = { readonly modified?: number; readonly observed?: number; readonly covered?: Coverage };

/** The id of the n-th record. */
export const idOf = (n: number): string => String(5_725_767_000_000_000_000n + BigInt(n));

/** The time so many seconds after the fixed one. */
export const at = (seconds: number): Date => new Date(START_MS + seconds * 1000);

/** A consumer that was started by a test. */
export type TestConsumer = RunningConsumer & { readonly stop: () => Promise<void> };

/** A topic of a test's own, with what is written to it, and a database for consumers of it. */
export class ConsumerFixture {
  readonly module: ModuleDefinition;
  readonly topic: TestTopic;
  readonly database: TestDatabase;
  readonly pool: pg.Pool;
  readonly kafka: KafkaClient;
  readonly admin: Admin;
  readonly partitions: number;
  readonly #producer: Producer;
  readonly #groups = uniqueName('consumer');
  readonly #running = new Set<() => Promise<void>>();

  private constructor(parts: Pick<ConsumerFixture, 'module' | 'topic' | 'database' | 'kafka' | 'admin' | 'partitions'>, producer: Producer) {
    this.module = parts.module;
    this.topic = parts.topic;
    this.database = parts.database;
    this.kafka = parts.kafka;
    this.admin = parts.admin;
    this.partitions = parts.partitions;
    this.pool = new pg.Pool({ connectionString: parts.database.url, max: 4 });
    this.pool.on('error', () => undefined);
    this.#producer = producer;
  }

  /** Opens one whose topic begins with the module's coverage. */
  static async open(module: ModuleDefinition, { partitions = 2, legacySchema = false } = {}): Promise<ConsumerFixture> {
    const kafka = createKafka({ config: { brokers: testKafkaBrokers(), ssl: false, sasl: undefined }, clientId: 'test', log: createLogger({ app: 'test', level: 'silent', isPretty: false }) });
    const [admin, producer, database, topic] = await Promise.all([createAdmin(kafka), createProducer(kafka), createTestDatabase({ legacySchema }), createTestTopic({ partitions })]);
    const fixture = new ConsumerFixture({ module, topic, database, kafka, admin, partitions }, producer);
    await fixture.declare(coverageOf(module));
    return fixture;
  }

  async close(): Promise<void> {
    await Promise.all([...this.#running].map((stop) => stop()));
    await Promise.all([this.#producer.close(), this.admin.close(), this.pool.end()]);
    await Promise.all([this.database.drop(), this.topic.drop()]);
  }

  /** A content of the n-th record, as a look writes it; fields that are not named are empty. */
  seen(n: number, values: Readonly<Record<string, FieldValue>>, { modified = 0, observed = modified, covered = coverageOf(this.module) }: Sight = {}): LogEvent & { readonly hash: string } {
    const fields = covered.fields.map((field) => values[field] ?? null);
    return { id: idOf(n), ...encodeSeen({ id: idOf(n), modifiedMs: at(modified).getTime(), observedMs: at(observed).getTime(), coverage: covered.id, fields }) };
  }

  /** A look that saw the same content again. */
  confirmed(n: number, { hash }: { readonly hash: string }, { modified = 0, observed = modified }: Sight): LogEvent {
    return { id: idOf(n), value: encodeConfirmed({ id: idOf(n), modifiedMs: at(modified).getTime(), observedMs: at(observed).getTime(), hash }) };
  }

  /** The CRM lists the n-th record as deleted at a time, in seconds. */
  deleted(n: number, deleted: number): LogEvent {
    return { id: idOf(n), value: encodeDeleted({ id: idOf(n), deletedMs: at(deleted).getTime() }) };
  }

  /** Writes events to the log, those of one record to one partition. */
  async publish(events: readonly LogEvent[]): Promise<void> {
    await this.#producer.send(this.topic.name, events.map(({ id, value }) => ({ key: id, value, partition: partitionOf(id, this.partitions) })));
  }

  /** Declares a coverage in each partition. */
  async declare({ id, fields }: Coverage): Promise<void> {
    const value = encodeCoverage({ coverage: id, fields });
    await this.#producer.send(this.topic.name, Array.from({ length: this.partitions }, (_, partition) => ({ key: 'coverage', value, partition })));
  }

  /** The configuration of a consumer on this stack. */
  config(more: Partial<ConsumerConfig> = {}): ConsumerConfig {
    return {
      host: '127.0.0.1', port: 0, epsilonMs: EPSILON_MS, maxBatchMessages: 100, startFrom: 'beginning', isLocalStack: true, logLevel: 'silent',
      kafka: { brokers: testKafkaBrokers(), ssl: false, sasl: undefined }, postgres: { url: this.database.url, poolSize: 6 }, ...more,
    };
  }

  /** What a consumer of this fixture's topic needs beside its definition. */
  options(name: string): Pick<ConsumerOptions, 'config' | 'topicOf' | 'groupId'> {
    return { config: this.config(), topicOf: () => this.topic.name, groupId: `${this.#groups}-${name}` };
  }

  /** Starts a consumer, as its process does. It is stopped with the fixture at the latest. */
  async start(options: Pick<ConsumerOptions, 'definition' | 'delivering'> & Partial<ConsumerOptions>): Promise<TestConsumer> {
    const closers: (() => Promise<void> | void)[] = [];
    const stop = async (): Promise<void> => {
      this.#running.delete(stop);
      for (let close = closers.pop(); close !== undefined; close = closers.pop()) await close();
    };
    this.#running.add(stop);
    const fatal = (error: unknown): void => {
      throw error;
    };
    const log = createLogger({ app: 'test', level: 'silent', isPretty: false });
    const running = await startConsumer({ ...this.options(options.definition.name), ...options }, { closers: { add: (_, close) => void closers.push(close) }, fatal, log });
    return { ...running, stop };
  }

  /** Resolves once the consumer has applied all that is in the topic, or as many messages as are said. */
  async caughtUp(name: string, expected?: number): Promise<void> {
    const target = expected ?? (await this.length());
    for (;;) {
      const [row] = await this.sql(`select coalesce(sum(next_offset), 0)::int as next from ${schemaOf(name)}.position`).catch(() => []);
      if (Number(row?.['next'] ?? 0) >= target) return;
      await shortly();
    }
  }

  /** Resolves once the consumer has applied all that is in the topic, and delivered everything that came of it. */
  async delivered(name: string): Promise<void> {
    await this.caughtUp(name);
    while ((await this.sql(`select from ${schemaOf(name)}.outbox where delivered_at is null limit 1`)).length > 0) await shortly();
  }

  /** Messages in the topic. */
  async length(): Promise<number> {
    return (await this.admin.topicOffsets(this.topic.name)).reduce((sum, { high }) => sum + high, 0);
  }

  async sql(text: string, values: unknown[] = []): Promise<Record<string, unknown>[]> {
    return (await this.pool.query<Record<string, unknown>>(text, values)).rows;
  }
}

const shortly = (): Promise<void> =>
  new Promise((resolve) => {
    setTimeout(resolve, 20);
  });
