import { type KafkaClient, type PartitionSpan, readLog } from '@lockstep/kafka';
import { EventFormatError } from '@lockstep/record-log';
import { crashPoint } from '@lockstep/telemetry';

import { type Slice, WHOLE } from './id-hash.ts';
import { PartitionFold, type PartitionFoldOptions } from './partition-fold.ts';
import type { RecordTable } from './record-table.ts';

/** What is done with a log while it is folded. */
export type LogFold = {
  readonly fold: PartitionFoldOptions;
  /** Offsets that are left out, by partition. */
  readonly skipped: ReadonlyMap<number, ReadonlySet<number>>;
  /** A message that the projector parks for good, because it is no event, or not of the published form: no part of the fold. */
  readonly onUnread?: (offset: number) => void;
  readonly onMessages: (partition: number, count: number) => Promise<void>;
  /** A partition, or a slice of one, is folded. */
  readonly onFolded: (partition: number, records: RecordTable) => Promise<void>;
};

/** Folds parts of a topic, one partition after the other; one of more records than fit is read more than once. */
export async function foldLog(kafka: KafkaClient, topic: string, spans: readonly PartitionSpan[], { fold: options, skipped, onUnread, onMessages, onFolded }: LogFold): Promise<void> {
  const fold = new PartitionFold(options, WHOLE);
  let pending: Part[] = spans.map((span) => ({ span, slice: WHOLE }));
  for (let isFirst = true; pending.length > 0; isFirst = false) {
    // Of each partition one slice a reading.
    const round = new Map(pending.toReversed().map((part) => [part.span.partition, part]));
    pending = pending.filter((part) => round.get(part.span.partition) !== part);
    let inHand: number | null = null;
    const begin = (partition: number): void => {
      if (inHand !== partition) fold.begin(round.get(partition)?.slice ?? WHOLE);
      inHand = partition;
    };
    await readLog(kafka, topic, spans.filter(({ partition }) => round.has(partition)), {
      onMessages: async (partition, messages) => {
        begin(partition);
        const skip = skipped.get(partition);
        for (const { offset, value } of messages) if (skip?.has(offset) !== true && !isRead(fold, { offset, value })) onUnread?.(offset);
        await onMessages(partition, isFirst ? messages.length : 0);
      },
      onPartitionEnd: async (partition) => {
        begin(partition);
        crashPoint('log-folded');
        await onFolded(partition, fold.records);
        const { span } = round.get(partition) as Part;
        pending.push(...fold.left.map((slice) => ({ span, slice })));
      },
    });
  }
}

type Part = { readonly span: PartitionSpan; readonly slice: Slice };

function isRead(fold: PartitionFold, message: Parameters<PartitionFold['observe']>[0]): boolean {
  try {
    return fold.observe(message);
  } catch (error) {
    if (!(error instanceof EventFormatError) || error.code === 'EVENT_VERSION_UNKNOWN') throw error;
    return false;
  }
}
