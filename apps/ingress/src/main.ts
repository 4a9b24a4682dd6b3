import { createMeteredClient } from '@lockstep/crm-client';
import { createDeadLetters } from '@lockstep/crm-reader';
import { createAdmin, createKafka, createProducer } from '@lockstep/kafka';
import { checkSchema, connect, createSignals, creditBuckets, creditUse, databaseOffset, deadLetterStore, migrate, tokenStore } from '@lockstep/postgres';
import { configured, createLogger, runProcess } from '@lockstep/telemetry';

import { buildApp } from './app.ts';
import { loadConfig } from './config.ts';
import { createHintPublisher } from './hint-publisher.ts';
import { createIngressMetrics } from './metrics.ts';
import { runReader } from './reader.ts';
import { ensureTopics } from './topics.ts';

const config = await configured(() => loadConfig(process.env));
const log = createLogger({ app: 'ingress', level: config.logLevel });

await runProcess({
  name: 'ingress',
  log,
  start: async (closers, fatal) => {
    const metrics = createIngressMetrics();
    const db = await connect(config.postgres);
    closers.add('postgres', () => db.close());
    await migrate(db, config.modules);

    const kafka = createKafka({ config: config.kafka, clientId: 'lockstep-ingress', log });
    const admin = await createAdmin(kafka);
    closers.add('admin', () => admin.close());
    await ensureTopics(admin, config.modules, config.partitions);
    const producer = await createProducer(kafka);
    closers.add('producer', () => producer.close());

    const stopping = new AbortController();
    const crm = createMeteredClient({
      config: config.crm,
      tokenStore: tokenStore(db),
      spend: (spent) => creditUse(db).add(spent),
      creditStore: creditBuckets(db),
      onCall: ({ call, status, seconds }) => metrics.calls.observe({ call, status }, seconds),
      stopping: stopping.signal,
      witness: await databaseOffset(db),
      log,
    });
    closers.add('crm', () => crm.close());
    const signals = createSignals(db);
    closers.add('signals', () => signals.close());

    const deadLetters = createDeadLetters({ producer, store: deadLetterStore(db), metrics });
    const { modules, dataDir, lookIntervalMs, epsilonMs, secret, maxBodyBytes } = config;
    const reading = runReader({ db, signals, kafka, admin, producer, deadLetters, crm, budget: crm.budget, modules, dataDir, lookIntervalMs, epsilonMs, metrics, log, signal: stopping.signal, onFatal: fatal });
    closers.add('reader', async () => {
      stopping.abort();
      await reading;
    });

    const app = buildApp({
      secret,
      modules,
      maxBodyBytes,
      metrics,
      log,
      publisher: createHintPublisher(producer),
      poll: () => signals.send('poll'),
      readiness: { kafka: () => producer.ping(), postgres: () => checkSchema(db) },
    });
    closers.add('http', () => app.close());
    log.info({ url: await app.listen({ host: config.host, port: config.port }) }, 'ingress is ready');
  },
});
