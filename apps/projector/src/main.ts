import { setTimeout as sleep } from 'node:timers/promises';

import { createAdmin, createKafka, KafkaError } from '@lockstep/kafka';
import { checkSchema, connect, migrate, noteEpsilon } from '@lockstep/postgres';
import { configured, createLogger, healthRoutes, runProcess } from '@lockstep/telemetry';
import fastify from 'fastify';

import { loadConfig } from './config.ts';
import { createProjectorMetrics } from './metrics.ts';
import { type OpenTopic, openTopics } from './open-topics.ts';
import { Projector } from './projector.ts';

const config = await configured(() => loadConfig(process.env));
const log = createLogger({ app: 'projector', level: config.logLevel });
const TOPIC_RETRY_MS = 500;
/** Beside those of the lanes: for positions and pauses, what is parked, the state of the partitions, and readiness. */
const OTHER_CONNECTIONS = 4;

await runProcess({
  name: 'projector',
  log,
  start: async (closers, fatal) => {
    const metrics = createProjectorMetrics();
    const db = await connect({ ...config.postgres, poolSize: Math.max(config.postgres.poolSize, config.lanes * config.modules.length + OTHER_CONNECTIONS) });
    closers.add('postgres', () => db.close());
    await migrate(db, config.modules);
    await noteEpsilon(db, config.epsilonMs);
    const kafka = createKafka({ config: config.kafka, clientId: 'lockstep-projector', log });
    const admin = await createAdmin(kafka);
    closers.add('admin', () => admin.close());

    const projector = new Projector({ ...config, db, kafka, admin, metrics, log, onFatal: fatal });
    closers.add('projector', () => projector.close());
    const app = fastify({ forceCloseConnections: true });
    healthRoutes(app, { metrics: metrics.registry, readiness: { partitions: () => projector.check(), postgres: () => checkSchema(db) } });
    closers.add('http', () => app.close());
    const url = await app.listen({ host: config.host, port: config.port });

    const stopping = new AbortController();
    closers.add('start', () => stopping.abort());
    const topics = await whenTheyExist(() => openTopics({ ...config, admin, db, log }), stopping.signal);
    if (topics === null) return;
    await projector.start(topics);
    log.info({ url, topics: [...topics.keys()] }, 'projector is ready');
  },
});

/** The ingress creates the topics; whichever app is first waits for the other. */
async function whenTheyExist(open: () => Promise<Map<string, OpenTopic>>, signal: AbortSignal): Promise<Map<string, OpenTopic> | null> {
  let isReported = false;
  while (!signal.aborted) {
    try {
      return await open();
    } catch (error) {
      // A topic that was created just now may not have its leaders yet.
      if (!(error instanceof KafkaError) || (error.code !== 'TOPIC_MISSING' && !error.retryable)) throw error;
      if (!isReported) log.info({ reason: error.message }, 'waiting for the topics');
      isReported = true;
      await sleep(TOPIC_RETRY_MS, undefined, { signal }).catch(() => undefined);
    }
  }
  return null;
}
