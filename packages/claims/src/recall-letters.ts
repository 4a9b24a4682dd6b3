import { type Admin, type KafkaClient, KafkaError, readLog } from '@lockstep/kafka';
import { topics } from '@lockstep/modules';
import { type Database, deadLetterStore, type RecalledLetter } from '@lockstep/postgres';
import { z } from 'zod';

export type RecallLettersDeps = { readonly kafka: KafkaClient; readonly admin: Pick<Admin, 'partitionsOf' | 'topicOffsets'>; readonly db: Pick<Database, 'pool'> };

const message = z.object({ v: z.literal(1), source: z.string().min(1), position: z.record(z.string(), z.union([z.string(), z.number()])), code: z.string(), cause: z.string() });

/**
 * Brings back from their topic the dead letters of a module, and those of none, that were written since a time: into a database that lost them.
 * Repeating it changes nothing. Those that were settled or given up since are open again, until a later reading settles them.
 * @param since when the whole module was read last: that settled the earlier ones.
 * @throws {KafkaError} when the log cannot be read.
 */
export async function recallLetters({ kafka, admin, db }: RecallLettersDeps, module: string, since: Date): Promise<void> {
  const store = deadLetterStore(db);
  const spans = await spansOf(admin);
  await readLog(kafka, topics.deadLetters, spans, {
    onMessages: async (_, messages) => await store.recall(messages.flatMap(({ key, value, timestampMs }) => letterOf(value, { key: key?.toString() ?? '', at: new Date(timestampMs) })).filter((letter) => letter.at >= since && isAbout(module, letter))),
    onPartitionEnd: async () => undefined,
  });
}

const isAbout = (module: string, { position }: RecalledLetter): boolean => (position['module'] ?? module) === module;

/** What the topic holds; nothing while there is none. */
async function spansOf(admin: RecallLettersDeps['admin']): Promise<{ partition: number; from: number; end: number }[]> {
  try {
    await admin.partitionsOf(topics.deadLetters);
    return (await admin.topicOffsets(topics.deadLetters)).map(({ partition, low, high }) => ({ partition, from: low, end: high }));
  } catch (error) {
    if (error instanceof KafkaError && error.code === 'TOPIC_MISSING') return [];
    throw error;
  }
}

/** None for what is no dead letter of this version. */
function letterOf(value: Buffer | null, { key, at }: Pick<RecalledLetter, 'key' | 'at'>): RecalledLetter[] {
  try {
    const { data } = message.safeParse(JSON.parse(value?.toString() ?? ''));
    return data === undefined ? [] : [{ source: data.source, position: data.position, code: data.code, cause: data.cause, key, at }];
  } catch (error) {
    if (error instanceof SyntaxError) return [];
    throw error;
  }
}
