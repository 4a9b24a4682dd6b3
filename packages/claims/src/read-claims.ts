import { type Admin, type KafkaClient, KafkaError, readLog } from '@lockstep/kafka';
import { topics } from '@lockstep/modules';

import { type ClaimsMessage, decodeClaims } from './claims-message.ts';

/** What the log says is claimed of a module, and when it was appended, by the broker's clock. */
export type LoggedClaims = Omit<ClaimsMessage, 'module'> & { readonly appendedMs: number };

export type ReadClaimsDeps = { readonly kafka: KafkaClient; readonly admin: Pick<Admin, 'partitionsOf' | 'topicOffsets'> };

/** A week of a dozen modules; what is not found in the last ones is looked for among ten times as many. */
const LAST_MESSAGES = 50_000;

/**
 * The last claims of each of some modules, by API name. Modules that none is known of are left out.
 * @throws {KafkaError} when the log cannot be read.
 */
export async function readClaims({ kafka, admin }: ReadClaimsDeps, modules: readonly string[]): Promise<ReadonlyMap<string, LoggedClaims>> {
  const span = await spanOf(admin);
  if (span === null) return new Map();
  for (let last = LAST_MESSAGES; ; last *= 10) {
    const from = Math.max(span.low, span.high - last);
    const found = await readFrom(kafka, from, span.high);
    if (from === span.low || modules.every((module) => found.has(module))) return found;
  }
}

/** The topic's offsets; null while there is no such topic. */
async function spanOf(admin: ReadClaimsDeps['admin']): Promise<{ readonly low: number; readonly high: number } | null> {
  try {
    await admin.partitionsOf(topics.claims);
    return (await admin.topicOffsets(topics.claims))[0] ?? null;
  } catch (error) {
    if (error instanceof KafkaError && error.code === 'TOPIC_MISSING') return null;
    throw error;
  }
}

async function readFrom(kafka: KafkaClient, from: number, end: number): Promise<Map<string, LoggedClaims>> {
  const found = new Map<string, LoggedClaims>();
  await readLog(kafka, topics.claims, [{ partition: 0, from, end }], {
    onMessages: async (_, messages) => {
      for (const { value, timestampMs: appendedMs } of messages) {
        const claims = decodeClaims(value);
        if (claims === null) continue;
        const { module, ...rest } = claims;
        found.set(module, { ...rest, appendedMs });
      }
    },
    onPartitionEnd: async () => undefined,
  });
  return found;
}
