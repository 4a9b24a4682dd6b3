import { ConsumerError, databaseOf, replay, type ReplayedPartition, type ReplayFrom } from '@lockstep/consumer';
import { createAdmin, createKafka, KafkaError, loadKafkaConfig } from '@lockstep/kafka';
import { connect, loadPostgresConfig } from '@lockstep/postgres';
import { createLogger } from '@lockstep/telemetry';

import { UsageError } from './errors.ts';

/**
 * Where a replay begins, as a person writes it: `beginning`, an offset (`1200`, of each partition), offsets of partitions (`0/1200,3/17`), or a time.
 * @throws {UsageError} for anything else.
 */
export function replayFrom(text: string): ReplayFrom {
  if (text === 'beginning') return { kind: 'beginning' };
  if (/^\d{1,15}$/.test(text)) return { kind: 'offset', offset: Number(text) };
  if (/^\d{1,6}\/\d{1,15}(?:,\d{1,6}\/\d{1,15})*$/.test(text)) return { kind: 'offsets', offsets: new Map(text.split(',').map((one) => one.split('/').map(Number) as [number, number])) };
  const ms = /^\d{4}-\d\d-\d\dT/.test(text) ? Date.parse(text) : Number.NaN;
  if (Number.isNaN(ms)) throw new UsageError(`"${text}" is neither "beginning" nor an offset (1200), offsets of partitions (0/1200,3/17) or a time (2026-03-02T10:05:00Z)`);
  return { kind: 'time', ms };
}

/** Sets a consumer back. @throws {UsageError} where it cannot be done; it says what to do. */
export async function replayConsumer(env: NodeJS.ProcessEnv, name: string, from: ReplayFrom): Promise<ReplayedPartition[]> {
  const log = createLogger({ app: 'cli', level: 'silent', isPretty: false });
  const kafka = createKafka({ config: loadKafkaConfig(env), clientId: 'lockstep-cli', log });
  const db = await connect(loadPostgresConfig(databaseOf(env)));
  try {
    const admin = await createAdmin(kafka);
    try {
      return await replay({ pool: db.pool, admin }, name, from);
    } finally {
      await admin.close();
    }
  } catch (error) {
    if (error instanceof ConsumerError || error instanceof KafkaError) throw new UsageError(error.message);
    throw error;
  } finally {
    await db.close();
  }
}

const number = new Intl.NumberFormat('en-US');

/** What was set back, for people. */
export function replayedText(name: string, partitions: readonly ReplayedPartition[]): string {
  const lines = partitions.map(({ topic, partition, effectsFrom, end }) => `  ${topic}/${partition}: ${number.format(end - effectsFrom)} of ${number.format(end)} messages, from offset ${effectsFrom} on`);
  return `${[`${name} is set back; once it is started it folds the log from the beginning, and hands over again:`, ...lines].join('\n')}\n`;
}
