import { createAdmin, createKafka, loadKafkaConfig, partitionOf } from '@lockstep/kafka';
import { findModule, type ModuleDefinition, topicOf } from '@lockstep/modules';
import { readLog } from '@lockstep/rebuild';
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
  const { low = 0, high = 0 } = offsets.find((one) => one.partition === partition) ?? {};
  const found: LoggedEvent[] = [];
  await readLog(kafka, topic, [{ partition, from: low, end: high }], {
    onMessages: async (_, messages) => {
      for (const message of messages) if (message.key?.toString() === id) found.push({ partition, offset: message.offset, origin: message.header('ce_origin')?.toString() ?? '', event: decodeEvent(message.value ?? '') });
    },
    onPartitionEnd: async () => undefined,
  });
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

/** @throws {UsageError} for an unknown module. */
export function knownModule(name: string): ModuleDefinition {
  try {
    return findModule(name);
  } catch (error) {
    throw new UsageError((error as Error).message);
  }
}
