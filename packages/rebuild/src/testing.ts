import { type Admin, createAdmin, createKafka, createProducer, type KafkaClient, partitionOf, type Producer } from '@lockstep/kafka';
import { createTestDatabase, createTestTopic, type TestDatabase, testKafkaBrokers, type TestTopic } from '@lockstep/local-stack';
import { coverageOf, leads, type ModuleDefinition, products } from '@lockstep/modules';
import { connect, type Database, migrate } from '@lockstep/postgres';
import { adoptMapping, loadPositions, ModuleProjection, projectBatch } from '@lockstep/projection';
import { type Coverage, encodeCoverage, encodeDeleted, encodeSeen, type FieldValue } from '@lockstep/record-log';
import { createLogger } from '@lockstep/telemetry';

import type { VerifyDeps } from './verify-module.ts';

const PARTITIONS = 3;
const EPSILON_MS = 60_000;
export const START_MS = 1_700_000_000_000;
const partitions = Array.from({ length: PARTITIONS }, (_, partition) => partition);

export type Values = Record<string, FieldValue>;
export type LogEvent = { readonly id: string; readonly value: string };

export const idOf = (n: number): string => String(5_725_767_000_000_000_000n + BigInt(n));
export const partOf = (id: string): number => partitionOf(id, PARTITIONS);
export const lead = (n: number, more: Values = {}): Values => ({ Last_Name: `Lead ${n}`, Company: 'Ada & Söhne\t\\', City: null, ...more });

type Times = { readonly modified?: number; readonly observed?: number };

/** A content of a record, `modified` and `observed` in seconds. */
export function seen(n: number, values: Values, { modified = 0, observed = modified, module = leads, covered = coverageOf(module) }: Times & { readonly module?: ModuleDefinition; readonly covered?: Coverage } = {}): LogEvent & { readonly hash: string } {
  const fields = covered.fields.map((field) => values[field] ?? null);
  return { id: idOf(n), ...encodeSeen({ id: idOf(n), modifiedMs: START_MS + modified * 1000, observedMs: START_MS + observed * 1000, coverage: covered.id, fields }) };
}

export const deleted = (n: number, at: number): LogEvent => ({ id: idOf(n), value: encodeDeleted({ id: idOf(n), deletedMs: START_MS + at * 1000 }) });

/** A coverage, declared in each partition. */
export function declared({ id: coverage, fields }: Coverage): LogEvent[] {
  const ids = Array.from({ length: 100 }, (_, n) => idOf(n));
  return partitions.map((partition) => ({ id: ids.find((id) => partOf(id) === partition) as string, value: encodeCoverage({ coverage, fields }) }));
}

/** A topic of its own, what was written to it, and a database that it is projected into. */
export class Fixture {
  readonly deps: VerifyDeps;
  readonly db: Database;
  readonly topic: TestTopic;
  readonly #url: string;
  readonly #topicId: string;
  readonly #values: Buffer[][] = partitions.map(() => []);
  readonly #producer: Producer;
  readonly #closing: (() => Promise<unknown>)[];

  private constructor(parts: { readonly kafka: KafkaClient; readonly admin: Admin; readonly producer: Producer; readonly db: Database; readonly testDatabase: TestDatabase; readonly topic: TestTopic; readonly topicId: string }) {
    const { kafka, admin, producer, db, testDatabase, topic, topicId } = parts;
    this.deps = { pool: db.pool, kafka, admin };
    this.db = db;
    this.topic = topic;
    this.#url = testDatabase.url;
    this.#topicId = topicId;
    this.#producer = producer;
    this.#closing = [() => producer.close(), () => admin.close(), () => db.close(), () => testDatabase.drop(), () => topic.drop()];
  }

  static async open(): Promise<Fixture> {
    const log = createLogger({ app: 'test', level: 'silent', isPretty: false });
    const kafka = createKafka({ config: { brokers: testKafkaBrokers(), ssl: false, sasl: undefined }, clientId: 'test', log });
    const [admin, producer, testDatabase, topic] = await Promise.all([createAdmin(kafka), createProducer(kafka), createTestDatabase({ legacySchema: true }), createTestTopic({ partitions: PARTITIONS })]);
    const db = await connect({ url: testDatabase.url, poolSize: 6 });
    await migrate(db, [leads, products]);
    return new Fixture({ kafka, admin, producer, db, testDatabase, topic, topicId: await admin.topicId(topic.name) });
  }

  async close(): Promise<void> {
    for (const close of this.#closing) await close();
  }

  /** Schema `lockstep`, empty, as after a loss of the database. The rows of the legacy tables are gone, too. */
  async loseDatabase(): Promise<void> {
    await this.sql('drop schema lockstep cascade; delete from leads; delete from products');
    // The ORM of a process makes sure of its table once.
    const db = await connect({ url: this.#url, poolSize: 3 });
    await migrate(db, [leads, products]);
    await db.close();
  }

  /** The database, for another process. */
  get url(): string {
    return this.#url;
  }

  /** Messages that were written. */
  get length(): number {
    return this.#values.flat().length;
  }

  /** Where a record's first message stands that contains a text. */
  offsetOf(id: string, text = ''): number {
    return this.#values[partOf(id)]?.findIndex((value) => value.includes(`"id":"${id}"`) && value.includes(text)) ?? -1;
  }

  projection(module: ModuleDefinition = leads): ModuleProjection {
    return new ModuleProjection(module, EPSILON_MS);
  }

  async sql(text: string, values: unknown[] = []): Promise<Record<string, unknown>[]> {
    return (await this.db.pool.query<Record<string, unknown>>(text, values)).rows;
  }

  /** Writes events to the log, those of one record to one partition. */
  async publish(events: readonly LogEvent[]): Promise<void> {
    for (const { id, value } of events) this.#values[partOf(id)]?.push(Buffer.from(value));
    await this.#producer.send(this.topic.name, events.map(({ id, value }) => ({ key: id, value, partition: partOf(id) })));
  }

  /** Applies what was written, as the projector does, in batches of so many messages. */
  async project(module: ModuleDefinition = leads, size = 200): Promise<void> {
    const projection = this.projection(module);
    await adoptMapping(this.db.pool, projection);
    const client = await this.db.pool.connect();
    const positions = await loadPositions(client, { topic: this.topic.name, topicId: this.#topicId, partitions });
    for (const [partition, values] of this.#values.entries()) {
      for (let from = positions.get(partition) ?? 0; from < values.length; from += size) {
        const messages = values.slice(from, from + size).map((value, i) => ({ partition, offset: from + i, value }));
        await projectBatch(client, projection, { topic: this.topic.name, topicId: this.#topicId, messages, positions: new Map([[partition, { from, to: from + messages.length }]]) });
      }
    }
    client.release();
  }
}
