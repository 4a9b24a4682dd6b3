import { createAdmin, createKafka } from '@lockstep/kafka';
import type { ModuleDefinition } from '@lockstep/modules';
import { connect, type Database } from '@lockstep/postgres';
import { type Closers, createLogger, type Fatal, healthRoutes, loop, type Logger, runProcess } from '@lockstep/telemetry';
import fastify from 'fastify';

import { type BackOff, REPORT_AFTER_ATTEMPTS } from './back-off.ts';
import type { ConsumerConfig } from './config.ts';
import { Consumer } from './consumer.ts';
import type { ConsumerDefinition } from './definition.ts';
import { FileWriter } from './file-writer.ts';
import { type ConsumerMetrics, createConsumerMetrics } from './metrics.ts';
import { outboxCounts } from './outbox.ts';
import { schemaOf } from './schema.ts';
import { type Send, Sender } from './sender.ts';

/** Where deliveries go. */
export type Delivering =
  /** `concurrency`: deliveries of different records at once, 4 by default. `timeoutMs`: for one attempt, 10 s by default. */
  | { readonly send: Send; readonly concurrency?: number; readonly timeoutMs?: number; readonly backOff?: BackOff }
  /** A file that gets a line for each. */
  | { readonly file: string };

export type ConsumerOptions = {
  readonly config: ConsumerConfig;
  readonly definition: ConsumerDefinition;
  /** Needed where the definition has a `deliveryOf`. */
  readonly delivering?: Delivering;
  /** Others than Lockstep's own, for tests. */
  readonly topicOf?: (module: ModuleDefinition) => string;
  readonly groupId?: string;
  readonly heldMs?: number;
};

export type RunningConsumer = { readonly consumer: Consumer; readonly url: string };

const COUNT_EVERY_MS = 5_000;
const KEEP_DELIVERED_DAYS = 30;

/** A consumer's process: it runs until SIGINT or SIGTERM, and ends with exit code 1 at what only a restart can fix. */
export async function runConsumer(options: ConsumerOptions): Promise<void> {
  const { config, definition: { name } } = options;
  const log = createLogger({ app: name, level: config.logLevel });
  await runProcess({ name, log, start: async (closers, fatal) => void (await startConsumer(options, { closers, fatal, log })) });
}

/** Starts a consumer with its health routes and, where it has deliveries, what sends them. */
export async function startConsumer(options: ConsumerOptions, { closers, fatal, log }: { readonly closers: Closers; readonly fatal: Fatal; readonly log: Logger }): Promise<RunningConsumer> {
  const { config, definition, delivering } = options;
  if ((definition.deliveryOf === undefined) !== (delivering === undefined)) throw new Error(`consumer ${definition.name}: deliveryOf and delivering need each other`);
  const metrics = createConsumerMetrics(definition.name);
  const db = await connect(config.postgres);
  closers.add('postgres', () => db.close());
  const kafka = createKafka({ config: config.kafka, clientId: `lockstep-consumer-${definition.name}`, log });
  const admin = await createAdmin(kafka);
  closers.add('admin', () => admin.close());

  const outlet = delivering === undefined ? undefined : outletOf({ db, log, metrics, name: definition.name, delivering });
  const consumer = new Consumer({ ...options, ...config, db, kafka, admin, metrics, log, onFatal: fatal, ...(outlet && { onDeliveries: () => outlet.wake() }) });
  closers.add('consumer', () => consumer.close());
  const app = fastify({ forceCloseConnections: true });
  healthRoutes(app, { metrics: metrics.registry, readiness: { partitions: () => consumer.check(), postgres: () => db.ping(), ...(outlet && { receiver: () => outlet.check() }) } });
  closers.add('http', () => app.close());
  const url = await app.listen({ host: config.host, port: config.port });
  const isRunning = await consumer.start();
  if (isRunning && outlet !== undefined) {
    outlet.start();
    closers.add('outbox', () => outlet.close());
    closers.add('outbox counts', countWaiting({ db, log, metrics, name: definition.name }));
  }
  log.info({ url }, `${definition.name} is ready`);
  return { consumer, url };
}

type OutletDeps = { readonly db: Database; readonly log: Logger; readonly metrics: ConsumerMetrics; readonly name: string };

function outletOf({ db, log, metrics, name, delivering }: OutletDeps & { readonly delivering: Delivering }): Sender | FileWriter {
  const common = { db, log, name, schema: schemaOf(name), onOutcome: (outcome: string) => metrics.deliveries.inc({ outcome }) };
  if ('file' in delivering) return new FileWriter({ ...common, path: delivering.file });
  return new Sender({ concurrency: 4, timeoutMs: 10_000, keepDeliveredDays: KEEP_DELIVERED_DAYS, ...common, ...delivering });
}

/** Keeps the gauges of the outbox. @returns ends that. */
function countWaiting({ db, log, metrics, name }: OutletDeps): () => Promise<void> {
  const closing = new AbortController();
  const counting = loop({
    name: 'outbox counts',
    everyMs: COUNT_EVERY_MS,
    signal: closing.signal,
    log,
    body: async () => {
      const { waiting, failing } = await outboxCounts(db.pool, schemaOf(name), REPORT_AFTER_ATTEMPTS);
      metrics.waiting.set(waiting);
      metrics.failing.set(failing);
    },
  });
  return async () => {
    closing.abort();
    await counting;
  };
}
