import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { checkoutDir, type Child, type Lockstep, peakRssMb, startChild, waitUntilLoaded, waitUntilQuiet } from '@lockstep/harness';
import { decodeEvent } from '@lockstep/record-log';

import { countMismatches, historyRow, newestRow, type Rows, rowsOfLog } from './consumer-rows.ts';
import { Positions } from './positions.ts';
import { fillTopic, newerByADay, readTopic, topicLength } from './projector.ts';
import { leadsOnly, withLockstep } from './with-lockstep.ts';

/** A consumer that read the whole topic: messages a second, its peak resident set, and how far its table was from what it had to be. */
export type Replayed = { readonly rate: number; readonly rows: number; readonly rssMb: number; readonly mismatches: number };

/** What was measured of each consumer, one run after the other. */
export type ConsumerRun = { readonly messages: number; readonly runs: readonly Readonly<Record<ConsumerName, Replayed>>[] };

/** `newest`: the newest content of each record in a table of a second database; `history`: each content with its time, by apps/history, there as well. */
export type ConsumerName = 'newest' | 'history';

type Measured = { readonly program: string; readonly schema: string; readonly sql: string; readonly rowOf: (row: Record<string, string>) => readonly [string, string] };

const msOf = (column: string): string => `(extract(epoch from ${column}) * 1000)::bigint::text`;
const consumers: Record<ConsumerName, Measured> = {
  newest: {
    program: fileURLToPath(new URL('consumer.child.ts', import.meta.url)),
    schema: 'consumer_second_database',
    sql: 'select id::text as id, modified_ms::text as at, fields::text as fields from second_lead',
    rowOf: ({ id, at, fields }) => [String(id), newestRow(String(at), String(fields))],
  },
  history: {
    program: join(checkoutDir, 'apps/history/src/main.ts'),
    schema: 'consumer_history',
    sql: `select record_id::text as id, ${msOf('valid_from')} as at, coalesce(${msOf('valid_to')}, 'now') as "to", fields::text as fields from lockstep_history.leads`,
    rowOf: ({ id, at, to, fields }) => [`${id} ${at}`, historyRow(String(to), String(fields))],
  },
};

const ONE_IN = 5;

/**
 * Consumers that begin when the topic is full already: Leads of which every fifth has a second version, into an empty second database, in a fresh process each. The clock
 * starts when the partitions are assigned, which is just before the first fetch.
 */
export const runConsumers = (folder: string, rows: number, runs: number): Promise<ConsumerRun> =>
  withLockstep(folder, { modules: ['Leads'], simulator: leadsOnly(rows) }, async (lockstep) => {
    await waitUntilLoaded(lockstep, { timeoutMs: 1_800_000 });
    await waitUntilQuiet(lockstep, { timeoutMs: 600_000 });
    for (const app of Object.values(lockstep.apps)) await app.stop();
    await fillTopic(lockstep, (await readTopic(lockstep, Math.floor(rows / ONE_IN))).map(newerByADay));
    const messages = await topicLength(lockstep);
    const expected = rowsOfLog((await readTopic(lockstep, messages)).map(({ value }) => decodeEvent(String(value))));
    const measured: Record<ConsumerName, Replayed>[] = [];
    for (let run = 0; run < runs; run += 1) {
      const given = { lockstep, folder, messages };
      measured.push({ newest: await replayed({ ...given, name: 'newest', expected: expected.newest }), history: await replayed({ ...given, name: 'history', expected: expected.history }) });
    }
    return { messages, runs: measured };
  });

type Given = { readonly lockstep: Lockstep; readonly folder: string; readonly messages: number; readonly name: ConsumerName; readonly expected: Rows };

/** Lets a consumer read the topic into a database that is made for it, and compares every row. */
async function replayed({ lockstep, folder, messages, name, expected }: Given): Promise<Replayed> {
  const { schema, sql, rowOf } = consumers[name];
  const first = await Positions.open(lockstep.databaseUrl);
  await first.query('drop database if exists second with (force)');
  await first.query('create database second');
  await first.close();
  const url = new URL(lockstep.databaseUrl);
  url.pathname = '/second';
  const second = await Positions.open(url.href);
  const logFile = join(folder, `${name}.log`);
  const child = start({ lockstep, name, logFile, databaseUrl: url.href });
  try {
    const doneMs = await Promise.race([second.reachedBy(schema, messages, 1_800_000), endOf(child)]);
    const rssMb = peakRssMb(child.pid);
    const standing = new Map((await second.query<Record<string, string>>(sql)).map(rowOf));
    return { rate: messages / ((doneMs - (await assignedMs(logFile))) / 1000), rows: standing.size, rssMb, mismatches: countMismatches(expected, standing) };
  } finally {
    await child.stop();
    await second.close();
  }
}

function start({ lockstep, name, logFile, databaseUrl }: { readonly lockstep: Lockstep; readonly name: ConsumerName; readonly logFile: string; readonly databaseUrl: string }): Child {
  const env = { ...process.env, MALLOC_ARENA_MAX: '2', KAFKA_BROKERS: lockstep.kafkaBrokers.join(','), CONSUMER_DATABASE_URL: databaseUrl, LOCKSTEP_LOCAL_STACK: '1', LOG_LEVEL: 'info', HISTORY_MODULES: 'Leads', HISTORY_PORT: '0' };
  return startChild(process.execPath, ['--max-semi-space-size=16', consumers[name].program], { cwd: checkoutDir, env, logFile });
}

/** Rejects when the process ends by itself. */
async function endOf(child: Child): Promise<never> {
  const code = await child.ended;
  throw new Error(`the consumer ended with ${code}. The end of its log:\n${child.logTail()}`);
}

/** When the consumer had its partitions last, by the clock of the machine. */
async function assignedMs(logFile: string): Promise<number> {
  const assigned = (await readFile(logFile, 'utf8')).split('\n').findLast((line) => line.includes('"partitions assigned"'));
  if (assigned === undefined) throw new Error('the consumer never said that it had its partitions');
  return (JSON.parse(assigned) as { time: number }).time;
}
