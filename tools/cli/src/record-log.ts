import { createAdmin, createConsumer, createKafka, loadKafkaConfig, partitionOf } from '@lockstep/kafka';
import { type ModuleDefinition, moduleByName, modules, topicOf } from '@lockstep/modules';
import { decodeEvent, type FieldValue, type RecordEvent } from '@lockstep/record-log';
import { createLogger } from '@lockstep/telemetry';

import { UsageError } from './errors.ts';

/** One event of a record, where it stands, and where it came from. */
export type LoggedEvent = { readonly partition: number; readonly offset: number; readonly origin: string; readonly event: RecordEvent };

/**
 * Everything the log holds of one record, oldest first. Reads the record's whole partition: some seconds for millions of messages.
 * @throws {UsageError} for an unknown module; {@link KafkaError} when no broker answers, or the partition cannot be read (`LOG_CORRUPT`).
 */
export async function readRecordLog(env: NodeJS.ProcessEnv, moduleName: string, id: string): Promise<LoggedEvent[]> {
  const topic = topicOf(knownModule(moduleName));
  const kafka = createKafka({ config: loadKafkaConfig(env), clientId: 'lockstep-cli', log: createLogger({ app: 'cli', level: 'silent', isPretty: false }) });
  const admin = await createAdmin(kafka);
  const offsets = await admin.topicOffsets(topic);
  await admin.close();
  const partition = partitionOf(id, offsets.length);
  const end = offsets.find((one) => one.partition === partition)?.high ?? 0;
  const found: LoggedEvent[] = [];
  if (end === 0) return found;
  const consumer = await createConsumer(kafka, { groupId: `lockstep-cli-${process.pid}-${Date.now()}`, topics: [topic] });
  const done = Promise.withResolvers<void>();
  await consumer.run({
    onAssigned: async (assigned) => assigned.map((one) => ({ ...one, offset: one.partition === partition ? 0 : (offsets.find((other) => other.partition === one.partition)?.high ?? 0) })),
    onRevoked: async () => undefined,
    onFatal: done.reject,
    onUnreadable: (place, error) => {
      if (place.partition === partition) done.reject(error);
    },
    onBatch: async (batch) => {
      if (batch.partition !== partition) return;
      for (const message of batch.messages) {
        const { offset, key } = message;
        if (key?.toString() === id) found.push({ partition, offset, origin: message.header('ce_origin')?.toString() ?? '', event: decodeEvent(message.value ?? '') });
        if (offset >= end - 1) done.resolve();
      }
    },
  });
  try {
    await done.promise;
  } finally {
    await consumer.close();
  }
  return found;
}

/** The log of a record for people: each event, and what it changed. */
export function recordLogText(moduleName: string, events: readonly LoggedEvent[]): string {
  const names = knownModule(moduleName).fields.map(({ field }) => field);
  let before: readonly FieldValue[] | undefined;
  const lines = events.map(({ partition, offset, origin, event }) => {
    const place = `${partition}/${offset}`.padEnd(10);
    if (event.type === 'RecordDeleted') return `${place} deleted    at ${time(event.deletedMs)}${event.listedMs === undefined ? '' : `, listed at ${time(event.listedMs)}`}`;
    if (event.type !== 'RecordSeen' && event.type !== 'RecordRepaired') return `${place} ${event.type}`;
    const changes = before === undefined ? `${event.fields.filter((value) => value !== null).length} fields` : changesOf(names, before, event.fields);
    before = event.fields;
    return `${place} ${event.type === 'RecordRepaired' ? 'repaired' : 'seen'} by ${origin.padEnd(5)} modified ${time(event.modifiedMs)}, looked at ${time(event.observedMs)}, ${event.hash.slice(0, 8)}: ${changes}`;
  });
  return `${lines.length === 0 ? 'nothing' : lines.join('\n')}\n`;
}

const changesOf = (names: readonly string[], before: readonly FieldValue[], after: readonly FieldValue[]): string => {
  const changed = after.flatMap((value, i) => (value === before[i] ? [] : [`${names[i]} ${JSON.stringify(before[i])} → ${JSON.stringify(value)}`]));
  return changed.length === 0 ? 'nothing changed' : changed.join(', ');
};

const time = (ms: number): string => new Date(ms).toISOString();

function knownModule(name: string): ModuleDefinition {
  const module = moduleByName(name);
  if (module === undefined) throw new UsageError(`"${name}" is no module; there are ${modules.map(({ apiName }) => apiName).join(', ')}`);
  return module;
}
