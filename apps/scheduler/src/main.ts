import { ensureClaimsTopic } from '@lockstep/claims';
import { createMeteredClient } from '@lockstep/crm-client';
import { type CreditRules, startRefresh } from '@lockstep/crm-planner';
import { createAdmin, createKafka, createProducer } from '@lockstep/kafka';
import { bulkRuns, checkSchema, connect, createSignals, creditBuckets, creditUse, databaseOffset, deletionBreaker, incidents, migrate, readFreshness, tokenStore } from '@lockstep/postgres';
import { configured, createLogger, runProcess } from '@lockstep/telemetry';

import { buildApp } from './app.ts';
import { loadConfig } from './config.ts';
import { type Problems, runLeader } from './leader.ts';
import { createSchedulerMetrics } from './metrics.ts';
import { readHintsWaiting, readStatus } from './status.ts';

const config = await configured(() => loadConfig(process.env));
const log = createLogger({ app: 'scheduler', level: config.logLevel });

await runProcess({
  name: 'scheduler',
  log,
  start: async (closers) => {
    const { modules, secret, publicUrl, catchUpRules, refreshEveryMs, verifyEveryMs, alerts } = config;
    const metrics = createSchedulerMetrics();
    const db = await connect(config.postgres);
    closers.add('postgres', () => db.close());
    await migrate(db, modules);
    const kafka = createKafka({ config: config.kafka, clientId: 'lockstep-scheduler', log });
    const admin = await createAdmin(kafka);
    closers.add('admin', () => admin.close());
    await ensureClaimsTopic(admin);
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
    const { budget } = crm;
    const creditRules: CreditRules = {
      // Where it is not configured, it may be learned at any time.
      get perDay() {
        return budget.perDay;
      },
      reserve: config.crm.creditsReserve,
    };
    const signals = createSignals(db);
    closers.add('signals', () => signals.close());

    const problems: Problems = new Map();
    const leading = runLeader({ db, signals, crm, kafka, admin, producer, modules, secret, publicUrl, catchUpRules, creditRules, budget, refreshEveryMs, verifyEveryMs, alerts, metrics, log, problems, signal: stopping.signal });
    closers.add('leader', async () => {
      stopping.abort();
      await leading;
    });

    const isLeader = async (): Promise<boolean> => (await metrics.isLeader.get()).values[0]?.value === 1;
    const crmAnswers = (): void => {
      const [first] = problems;
      if (first !== undefined) throw new Error(`${first[0]}: ${first[1]}`);
    };
    const app = buildApp({
      metrics: metrics.registry,
      readiness: { postgres: () => checkSchema(db), crm: crmAnswers },
      freshness: () => readFreshness(db),
      incidents: (options) => incidents(db).list(options),
      refresh: (module, options) => startRefresh({ runs: bulkRuns(db), credits: creditUse(db), creditRules, crm, log }, module, options),
      releaseDeletions: (module) => deletionBreaker(db).release(module),
      status: async () => ({ isLeader: await isLeader(), hintsWaiting: await readHintsWaiting(admin), ...(await readStatus({ db, admin, modules, problems, catchUpRules, creditRules, budget })) }),
    });
    closers.add('http', () => app.close());
    log.info({ url: await app.listen({ host: config.host, port: config.port }) }, 'scheduler is ready');
  },
});
