import { fileURLToPath } from 'node:url';

import { createAdmin, createKafka, createProducer, partitionOf, type ProducedMessage } from '@lockstep/kafka';
import { createTestDatabase, createTestTopic, type TestDatabase, testKafkaBrokers, uniqueName } from '@lockstep/local-stack';
import { coverageOf, leads } from '@lockstep/modules';
import { connect, type Database, migrate } from '@lockstep/postgres';
import { ModuleProjection } from '@lockstep/projection';
import { encodeCoverage, encodeDeleted, encodeSeen } from '@lockstep/record-log';
import { createLogger } from '@lockstep/telemetry';
import { expect, test } from 'vitest';

import { type Config, loadConfig } from './config.ts';
import { createProjectorMetrics } from './metrics.ts';
import { adopt } from './open-topics.ts';
import { Projector } from './projector.ts';

const PARTITIONS = 2;
const START_MS = 1_700_000_000_000;
const log = createLogger({ app: 'test', level: 'silent', isPretty: false });
const definitions = fileURLToPath(new URL('testing/other-definitions.ts', import.meta.url));
const covered = coverageOf(leads);
const idOf = (n: number): string => String(5_725_767_000_000_000_000n + BigInt(n));

/** A log in which each record is seen several times, out of order and twice, and some are deleted or restored. */
function messages(): ProducedMessage[] {
  const seen = (n: number, round: number, observed = round): string => {
    const values: Record<string, string | null> = { Last_Name: `Lead ${n}`, Company: round % 2 === 0 ? `Firm ${round}` : null, Annual_Revenue: `${n}.${round + 1}`, City: `Town ${round}` };
    return encodeSeen({ id: idOf(n), modifiedMs: START_MS + round * 1000, observedMs: START_MS + observed * 1000, coverage: covered.id, fields: covered.fields.map((field) => values[field] ?? null) }).value;
  };
  const deleted = (n: number, at: number): string => encodeDeleted({ id: idOf(n), deletedMs: START_MS + at * 1000 });
  const of = (n: number): string[] => [seen(n, 3), seen(n, 1), seen(n, 5), seen(n, 3), ...(n % 4 === 0 ? [deleted(n, 100)] : []), ...(n % 8 === 0 ? [seen(n, 5, 300)] : []), ...(n % 5 === 0 ? [seen(n, 6, 6), seen(n, 6, 6)] : [])];
  return Array.from({ length: 400 }, (_, n) => of(n).map((value) => ({ key: idOf(n), value, partition: partitionOf(idOf(n), PARTITIONS) }))).flat();
}

async function opened(config: Config, schema: string): Promise<{ testDatabase: TestDatabase; db: Database }> {
  const testDatabase = await createTestDatabase({ legacySchema: schema === '' });
  const db = await connect({ url: testDatabase.url, poolSize: 6 });
  if (schema !== '') await db.pool.query(schema);
  await migrate(db, config.modules);
  return { testDatabase, db };
}

test('two databases with different tables end equal, each by its own group, from one topic', async () => {
  const env = { KAFKA_BROKERS: testKafkaBrokers().join(','), DATABASE_URL: 'postgres://not-used/', LOCKSTEP_MODULES: 'Leads' };
  const configs = await Promise.all([loadConfig({ ...env, LOCKSTEP_CONSUMER_GROUP: uniqueName('first') }), loadConfig({ ...env, LOCKSTEP_CONSUMER_GROUP: uniqueName('second'), LOCKSTEP_MODULE_DEFINITIONS: definitions })]);
  const kafka = createKafka({ config: configs[0].kafka, clientId: 'test', log });
  const [admin, producer, topic] = await Promise.all([createAdmin(kafka), createProducer(kafka), createTestTopic({ partitions: PARTITIONS })]);
  const topicId = await admin.topicId(topic.name);
  const databases = await Promise.all([opened(configs[0], ''), opened(configs[1], 'create schema sales; create table sales.prospect (crm_id bigint primary key, changed_at timestamptz, surname text, firm text, revenue numeric, town text)')]);
  const projectors: Projector[] = [];
  try {
    await producer.send(topic.name, Array.from({ length: PARTITIONS }, (_, partition) => ({ key: 'coverage', partition, value: encodeCoverage({ coverage: covered.id, fields: covered.fields }) })));
    const all = messages();
    await producer.send(topic.name, all.slice(0, 700));
    for (const [at, { db }] of databases.entries()) {
      const config = configs[at] as Config;
      const projection = new ModuleProjection(config.modules[0] as Config['modules'][number], config.epsilonMs);
      expect(await adopt(db, projection)).toBeUndefined();
      const projector = new Projector({ ...config, db, kafka, admin, metrics: createProjectorMetrics(), log, onFatal: (error) => { throw error; } });
      projectors.push(projector);
      await projector.start(new Map([[topic.name, { topic: topic.name, topicId, index: 0, projection }]]));
    }
    await producer.send(topic.name, all.slice(700));
    const rows = async (db: Database, sql: string): Promise<unknown[]> => (await db.pool.query(sql)).rows;
    for (const { db } of databases) await expect.poll(async () => (await db.pool.query<{ sum: number }>('select sum(next_offset)::int as sum from lockstep.projection_offset')).rows[0]?.sum, { timeout: 30_000 }).toBe(all.length + PARTITIONS);
    const first = await rows(databases[0].db, 'select id, modified_time as at, last_name as surname, company as firm, annual_revenue::text as revenue, city as town from leads where deleted_at is null order by id');
    const second = await rows(databases[1].db, 'select crm_id as id, changed_at as at, surname, firm, trim_scale(revenue)::text as revenue, town from sales.prospect order by crm_id');
    expect(first).toHaveLength(340);
    expect(second).toEqual(first.map((row) => ({ ...(row as { revenue: string }), revenue: String(Number((row as { revenue: string }).revenue)) })));
    expect(await rows(databases[1].db, 'select record_id, modified_ms, observed_ms, content_hash, deleted_ms from lockstep.record_version order by 1')).toEqual(await rows(databases[0].db, 'select record_id, modified_ms, observed_ms, content_hash, deleted_ms from lockstep.record_version order by 1'));
  } finally {
    await Promise.all(projectors.map((projector) => projector.close()));
    for (const { db, testDatabase } of databases) {
      await db.close();
      await testDatabase.drop();
    }
    await Promise.all([admin.close(), producer.close(), topic.drop()]);
  }
});

test('a file without definitions is refused by its name', async () => {
  const env = { KAFKA_BROKERS: 'b:1', DATABASE_URL: 'postgres://h/db' };
  await expect(loadConfig({ ...env, LOCKSTEP_MODULE_DEFINITIONS: fileURLToPath(new URL('metrics.ts', import.meta.url)) })).rejects.toThrow(/LOCKSTEP_MODULE_DEFINITIONS: .*metrics\.ts: it exports no list "modules"/);
  await expect(loadConfig({ ...env, LOCKSTEP_MODULE_DEFINITIONS: '/nowhere/modules.ts' })).rejects.toThrow(/LOCKSTEP_MODULE_DEFINITIONS: \/nowhere\/modules\.ts: /);
  await expect(loadConfig({ ...env, LOCKSTEP_MODULE_DEFINITIONS: definitions, LOCKSTEP_MODULES: 'Deals' })).rejects.toThrow(/unknown module "Deals"; there are Leads/);
  expect(await loadConfig(env)).toMatchObject({ groupId: 'lockstep-projector', modules: [{ apiName: 'Leads' }, { apiName: 'Deals' }, { apiName: 'Products' }] });
});
