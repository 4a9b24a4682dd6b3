import { existsSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { join } from 'node:path';

import { withAdmin } from './kafka-admin.ts';
import { kafkajs } from './kafkajs.ts';
import { testKafkaBrokers } from './test-topic.ts';

/** A partition's messages as the broker keeps them: what a disk may damage. */
export type SegmentFile = {
  /** Where each record batch begins, in bytes. */
  batches(): Promise<number[]>;
  /** Changes the lowest bit of a byte; again puts it right. */
  flip(at: number): Promise<void>;
};

/**
 * The first segment of a partition of the running test stack.
 * @returns undefined where the broker's disk is not ours: in Docker, or when the environment names the broker.
 */
export async function segmentFile(topic: string, partition: number): Promise<SegmentFile | undefined> {
  const folder = join(await logFolder(), `${topic}-${partition}`);
  if (!existsSync(folder)) return undefined;
  const path = join(folder, `${'0'.repeat(20)}.log`);
  return { batches: () => batchesOf(path), flip: (at) => flip(path, at) };
}

async function logFolder(): Promise<string> {
  return await withAdmin(testKafkaBrokers(), async (admin) => {
    const { brokers } = await admin.describeCluster();
    const { resources } = await admin.describeConfigs({ includeSynonyms: false, resources: [{ type: kafkajs.ConfigResourceTypes.BROKER, name: String(brokers[0]?.nodeId), configNames: ['log.dirs'] }] });
    return resources[0]?.configEntries[0]?.configValue ?? '';
  });
}

const [LENGTH_AT, AFTER_LENGTH] = [8, 12];

async function batchesOf(path: string): Promise<number[]> {
  const file = await open(path, 'r');
  try {
    const bytes = await file.readFile();
    const starts: number[] = [];
    for (let at = 0; at < bytes.length; at += AFTER_LENGTH + bytes.readInt32BE(at + LENGTH_AT)) starts.push(at);
    return starts;
  } finally {
    await file.close();
  }
}

async function flip(path: string, at: number): Promise<void> {
  const file = await open(path, 'r+');
  try {
    const { buffer } = await file.read(Buffer.alloc(1), 0, 1, at);
    await file.write(Buffer.of((buffer[0] as number) ^ 1), 0, 1, at);
  } finally {
    await file.close();
  }
}
