import { type ConsumedMessage, type PartitionOffsets, partitionOf, readLog } from '@lockstep/kafka';
import { compareVersions, decodeEvent, emptyRegister, EventFormatError, isAlive, type Observation, observe, type RecordEvent, type Register } from '@lockstep/record-log';

import { type LogIndexDeps, spansWithKey } from './log-index.ts';

/** A message about a record, where it stands, and where it came from. */
export type LoggedEvent = {
  readonly partition: number;
  readonly offset: number;
  /** When it was appended, epoch milliseconds. */
  readonly appendedMs: number;
  /** `bulk`, `look`, `catch-up`, …; empty where the message does not say. */
  readonly origin: string;
  /** Which reading of the CRM brought it, for people, e.g. `initial run 1, page 2, job 5725…`, `hint of update 0/17`, `catch-up 9`; empty where the message does not say. */
  readonly reading: string;
  /** Null for what is no event of this build's. */
  readonly event: RecordEvent | null;
};

/** What the fold made of a message. */
export type Outcome =
  /** Its content stands from here on. */
  | 'won'
  /** A newer one stood already. */
  | 'outdated'
  /** The very same version stood already. */
  | 'tie'
  /** It confirmed what stood. */
  | 'confirmed'
  /** It confirmed something else, nothing new, or would have revived the record. */
  | 'not confirmed'
  /** It moved the time of the deletion, or that of its listing. */
  | 'deleted'
  /** The projector has kept it aside: it is not part of what stands. */
  | 'parked';

export type HistoryEntry = LoggedEvent & {
  readonly outcome: Outcome;
  /** Whether the record exists in the CRM, as far as was known after this message. */
  readonly isAlive: boolean;
  /** The register after this message. */
  readonly register: Register;
};

export type HistoryOptions = {
  readonly epsilonMs: number;
  /** Offsets of messages that were parked and never applied. */
  readonly parked: ReadonlySet<number>;
};

/**
 * Everything the log holds of one record, oldest first. Reads those parts of its partition in which it may stand, and decodes its own messages only.
 * @param upTo the first offset of each partition, and the one that is next.
 * @throws {KafkaError} when no broker answers, or the partition cannot be read (`LOG_CORRUPT`).
 */
export async function readRecord({ pool, kafka, admin }: LogIndexDeps, topic: string, id: string, upTo: readonly PartitionOffsets[]): Promise<LoggedEvent[]> {
  const partition = partitionOf(id, upTo.length);
  const { low = 0, high = 0 } = upTo.find((one) => one.partition === partition) ?? {};
  const key = Buffer.from(id);
  const found: LoggedEvent[] = [];
  const spans = await spansWithKey(pool, await admin.topicId(topic), key, { partition, low, high });
  await readLog(kafka, topic, spans, {
    onMessages: async (_, messages) => {
      for (const message of messages) if (message.key?.equals(key) === true) found.push(loggedEvent(partition, message));
    },
    onPartitionEnd: async () => undefined,
  });
  return found;
}

const loggedEvent = (partition: number, message: ConsumedMessage): LoggedEvent => ({
  partition,
  offset: message.offset,
  appendedMs: message.timestampMs,
  origin: message.header('ce_origin')?.toString() ?? '',
  reading: message.header('ce_reading')?.toString() ?? '',
  event: eventOf(message.value),
});

function eventOf(value: Buffer | null): RecordEvent | null {
  try {
    return decodeEvent(value ?? '');
  } catch (error) {
    if (error instanceof EventFormatError) return null;
    throw error;
  }
}

/** Says of each message of one record what the fold made of it. */
export function historyOf(events: readonly LoggedEvent[], { epsilonMs, parked }: HistoryOptions): HistoryEntry[] {
  let register = emptyRegister;
  return events.flatMap((logged): HistoryEntry[] => {
    const { event, offset } = logged;
    if (event?.type === 'CoverageDeclared') return [];
    const before = register;
    const isParked = event === null || parked.has(offset);
    if (!isParked) register = observe(before, event, epsilonMs);
    return [{ ...logged, outcome: isParked ? 'parked' : outcomeOf(event, before, register), isAlive: isAlive(register, epsilonMs), register }];
  });
}

function outcomeOf(event: Observation, before: Register, after: Register): Outcome {
  switch (event.type) {
    case 'RecordDeleted':
      return before.deletedMs === after.deletedMs && before.listedMs === after.listedMs ? 'outdated' : 'deleted';
    case 'RecordConfirmed':
      return before.live?.observedMs === after.live?.observedMs ? 'not confirmed' : 'confirmed';
    case 'RecordSeen':
    case 'RecordRepaired': {
      const order = before.live === undefined ? 1 : compareVersions(event, before.live);
      return order > 0 ? 'won' : order === 0 ? 'tie' : 'outdated';
    }
  }
}
