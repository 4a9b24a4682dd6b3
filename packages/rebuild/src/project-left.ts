import { readLog } from '@lockstep/kafka';
import { type LogMessage, type ModuleProjection, projectBatch } from '@lockstep/projection';
import { decodeEvent, EventFormatError, readRepairedHead, readSeenHead } from '@lockstep/record-log';
import type { PoolClient } from 'pg';

import type { LeftToProject, LoadedPartition } from './load-partition.ts';

const BATCH = 10_000;

/**
 * Has the projector apply what loading left, in the order of the log. The partition's position is 0 before and moves along, so that where this is ended
 * the projector goes on; what it then applies a second time changes nothing.
 */
export async function projectLeft(client: PoolClient, projection: ModuleProjection, { kafka, topic, topicId, partition, end }: LoadedPartition, left: LeftToProject): Promise<void> {
  let position = 0;
  let batch: LogMessage[] = [];
  const apply = async (to: number): Promise<void> => {
    await projectBatch(client, projection, { topic, topicId, messages: batch, positions: new Map([[partition, { from: position, to }]]) });
    [position, batch] = [to, []];
  };
  await readLog(kafka, topic, [{ partition, end }], {
    onMessages: async (_, messages) => {
      for (const { offset, value } of messages) if (left.offsets.has(offset) || left.ids.has(idOf(value) ?? '')) batch.push({ partition, offset, value });
      if (batch.length >= BATCH) await apply((batch.at(-1) as LogMessage).offset + 1);
    },
    onPartitionEnd: () => apply(end),
  });
}

function idOf(value: Buffer | null): string | null {
  const head = value === null ? null : (readSeenHead(value) ?? readRepairedHead(value));
  if (head !== null) return head.id;
  try {
    const event = decodeEvent(value ?? '');
    return 'id' in event ? event.id : null;
  } catch (error) {
    if (error instanceof EventFormatError) return null;
    throw error;
  }
}
