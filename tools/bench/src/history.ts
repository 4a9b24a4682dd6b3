import { waitUntilLoaded, waitUntilQuiet } from '@lockstep/harness';
import { createAdmin, createKafka } from '@lockstep/kafka';
import { leads, topicOf } from '@lockstep/modules';
import { connect, type Database } from '@lockstep/postgres';
import { ModuleProjection } from '@lockstep/projection';
import { explainRecord, extendLogIndex, type LogIndexDeps } from '@lockstep/rebuild';
import { createLogger } from '@lockstep/telemetry';

import { fillTopic, newerByADay, readTopic } from './projector.ts';
import { leadsOnly, withLockstep } from './with-lockstep.ts';

/** Seconds that the explanation of one record takes, of each that was tried, and of making the index. */
export type HistoryRun = { readonly messages: number; readonly whole: readonly number[]; readonly indexSeconds: number; readonly indexed: readonly number[]; readonly missing: number };

const topic = topicOf(leads);
const RECORDS = 9;

/** Why one row of a topic of so many messages is so: from its whole partition, and by the index. */
export const runHistory = (folder: string, { rows, messages }: { readonly rows: number; readonly messages: number }): Promise<HistoryRun> =>
  withLockstep(folder, { modules: ['Leads'], simulator: leadsOnly(rows) }, async (lockstep) => {
    await waitUntilLoaded(lockstep, { timeoutMs: 1_800_000 });
    await waitUntilQuiet(lockstep, { timeoutMs: 600_000 });
    for (const app of Object.values(lockstep.apps)) await app.stop();
    const stored = (await readTopic(lockstep, rows)).map(newerByADay);
    const log = createLogger({ app: 'bench', level: 'silent', isPretty: false });
    const kafka = createKafka({ config: { brokers: lockstep.kafkaBrokers, ssl: false, sasl: undefined }, clientId: 'bench', log });
    const admin = await createAdmin(kafka);
    const length = async (): Promise<number> => (await admin.topicOffsets(topic)).reduce((sum, { high }) => sum + high, 0);
    for (let left = messages - (await length()); left > 0; left = messages - (await length())) await fillTopic(lockstep, stored.slice(0, left));
    const db: Database = await connect({ url: lockstep.databaseUrl, poolSize: 3 });
    const deps = { pool: db.pool, kafka, admin };
    await db.pool.query('truncate lockstep.log_index');
    const { rows: some } = await db.pool.query<{ id: string }>('select id::text from leads order by md5(id::text) limit $1', [RECORDS]);
    const ids = some.map(({ id }) => id);
    const whole = await explained(deps, ids.slice(0, 3));
    const began = performance.now();
    await extendLogIndex(deps, topic);
    const indexSeconds = (performance.now() - began) / 1000;
    const indexed = await explained(deps, ids);
    await Promise.all([db.close(), admin.close()]);
    return { messages, whole: whole.seconds, indexSeconds, indexed: indexed.seconds, missing: whole.missing + indexed.missing };
  });

async function explained(deps: LogIndexDeps & Parameters<typeof explainRecord>[0], ids: readonly string[]): Promise<{ readonly seconds: readonly number[]; readonly missing: number }> {
  const seconds: number[] = [];
  let missing = 0;
  for (const id of ids) {
    const began = performance.now();
    const { history } = await explainRecord(deps, new ModuleProjection(leads, 60_000), id);
    seconds.push((performance.now() - began) / 1000);
    if (history.length === 0) missing += 1;
  }
  return { seconds, missing };
}
