import { readFile } from 'node:fs/promises';
import { join } from 'node:path';

import { type ConsumedMessage, createAdmin, createBatchProducer, createConsumer, createKafka, createProducer, type ProducedMessage } from '@lockstep/kafka';
import { compareAll, type Lockstep, waitUntilLoaded, waitUntilQuiet } from '@lockstep/harness';
import { leads, topicOf } from '@lockstep/modules';
import { decodeEvent, encodeSeen } from '@lockstep/record-log';
import { createLogger } from '@lockstep/telemetry';

import { Positions } from './positions.ts';
import { leadsOnly, withLockstep } from './with-lockstep.ts';

/** Records a second of the three passes, and how far the table was from what it had to be. */
export type ProjectorRun = { readonly first: number; readonly newer: number; readonly stale: number; readonly mismatches: number };

const topic = topicOf(leads);
const PARTITIONS = 4;
const DAY_MS = 86_400_000;
const log = createLogger({ app: 'bench', level: 'silent', isPretty: false });

/**
 * The projector alone, its topic already full, in a fresh process each pass: a first load, every record newer by a day, and
 * every record stale. The clock starts when the partitions are assigned, which is just before the first fetch.
 */
export const runProjector = (folder: string, rows: number, runs: number): Promise<ProjectorRun[]> =>
  withLockstep(folder, { modules: ['Leads'], simulator: leadsOnly(rows) }, async (lockstep) => {
    const positions = await Positions.open(lockstep.databaseUrl);
    await waitUntilLoaded(lockstep);
    await waitUntilQuiet(lockstep);
    for (const app of Object.values(lockstep.apps)) await app.stop();
    const stored = await readTopic(lockstep, rows + PARTITIONS);
    const results: ProjectorRun[] = [];
    for (let run = 0; run < runs; run += 1) results.push(await passes({ lockstep, positions, stored, rows, logFile: join(folder, 'run/logs/projector.log') }));
    await positions.close();
    return results;
  });

type Pass = { readonly lockstep: Lockstep; readonly positions: Positions; readonly stored: readonly ProducedMessage[]; readonly rows: number; readonly logFile: string };

async function passes(given: Pass): Promise<ProjectorRun> {
  await emptyEverything(given);
  const rate = async (messages: readonly ProducedMessage[], total: number): Promise<number> => {
    await fillTopic(given.lockstep, messages);
    return given.rows / (await timePass(given, total));
  };
  const count = given.stored.length;
  const first = await rate(given.stored, count);
  let { mismatches } = await compareAll(given.lockstep, ['Leads']);
  const newer = await rate(given.stored.map(newerByADay), count * 2);
  mismatches += (await compareAll(given.lockstep, ['Leads'], { modifiedLaterByMs: DAY_MS })).mismatches;
  const stale = await rate(given.stored, count * 3);
  mismatches += (await compareAll(given.lockstep, ['Leads'], { modifiedLaterByMs: DAY_MS })).mismatches;
  return { first: Math.round(first), newer: Math.round(newer), stale: Math.round(stale), mismatches };
}

/** Starts the projector, waits for the last message, stops it. @returns seconds. */
async function timePass({ lockstep, positions, logFile }: Pass, total: number): Promise<number> {
  const projector = await lockstep.restart('projector');
  const doneMs = await positions.reached(topic, total);
  await projector.stop();
  const assigned = (await readFile(logFile, 'utf8')).split('\n').findLast((line) => line.includes('"partitions assigned"'));
  if (assigned === undefined) throw new Error('the projector never said that it had its partitions');
  return (doneMs - (JSON.parse(assigned) as { time: number }).time) / 1000;
}

const kafkaOf = ({ kafkaBrokers }: Lockstep) => createKafka({ config: { brokers: kafkaBrokers, ssl: false, sasl: undefined }, clientId: 'bench', log });

/** Tables, register and topic as on the first day. */
async function emptyEverything({ lockstep, positions }: Pass): Promise<void> {
  await positions.query('truncate leads, lockstep.record_version, lockstep.projection_offset, lockstep.coverage, lockstep.parked cascade');
  await positions.query('vacuum analyze');
  const admin = await createAdmin(kafkaOf(lockstep));
  await admin.deleteTopics([topic]);
  await admin.ensureTopics([{ topic, partitions: PARTITIONS, config: { 'retention.ms': '-1' } }]);
  await admin.close();
}

const HEADERS = ['content-type', 'ce_specversion', 'ce_type', 'ce_source', 'ce_origin', 'ce_reading', 'ce_id', 'ce_time'];
const headersOf = (message: ConsumedMessage): Record<string, Buffer> => Object.fromEntries(HEADERS.map((name) => [name, message.header(name)] as const).filter((entry): entry is readonly [string, Buffer] => entry[1] !== undefined));

/** The first messages of the topic, or so, whatever their partitions. */
export async function readTopic(lockstep: Lockstep, count: number): Promise<ProducedMessage[]> {
  const consumer = await createConsumer(kafkaOf(lockstep), { groupId: `bench-${Date.now()}`, topics: [topic] });
  const messages: ProducedMessage[] = [];
  const complete = Promise.withResolvers<void>();
  await consumer.run({
    onAssigned: async () => [],
    onRevoked: async () => undefined,
    onBatch: async ({ partition, messages: batch }) => {
      for (const message of batch) messages.push({ key: message.key ?? '', value: message.value ?? '', headers: headersOf(message), partition });
      if (messages.length >= count) complete.resolve();
    },
    onFatal: complete.reject,
    onUnreadable: (_, error) => complete.reject(error),
  });
  await complete.promise;
  await consumer.close();
  return messages;
}

/** How many messages the topic holds. */
export async function topicLength(lockstep: Lockstep): Promise<number> {
  const admin = await createAdmin(kafkaOf(lockstep));
  const offsets = await admin.topicOffsets(topic);
  await admin.close();
  return offsets.reduce((sum, { low, high }) => sum + high - low, 0);
}

/** Writes messages to the topic. */
export async function fillTopic(lockstep: Lockstep, messages: readonly ProducedMessage[]): Promise<void> {
  const producer = await createProducer(kafkaOf(lockstep));
  const batches = createBatchProducer({ producer, topic });
  for (const message of messages) await batches.add(message);
  await batches.flush();
  await producer.close();
}

/** The same content, a day newer. */
export function newerByADay(message: ProducedMessage): ProducedMessage {
  const event = decodeEvent(String(message.value));
  if (event.type !== 'RecordSeen') return message;
  const { value } = encodeSeen({ ...event, modifiedMs: event.modifiedMs + DAY_MS, observedMs: event.observedMs + DAY_MS });
  return { ...message, value };
}
