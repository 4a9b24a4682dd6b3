import { BulkFileError, type ReadRow, rowReader } from '@lockstep/bulk-file';
import { isLowerId } from '@lockstep/completeness';
import { createBatchProducer, type Producer } from '@lockstep/kafka';
import { type ModuleDefinition, topicOf } from '@lockstep/modules';
import type { PublishedRows, RegisterReader } from '@lockstep/postgres';
import type { LookSpan } from '@lockstep/record-log';

import type { DeadLetter, DeadLetters } from '../dead-letters.ts';
import { lookMessages, seenMessages } from '../record-publisher.ts';
import type { BulkResult } from './bulk-results.ts';

export type PublishRowsOptions = {
  readonly rows: BulkResult['rows'];
  readonly jobId: string;
  readonly module: ModuleDefinition;
  /** CRM times: the job's creation, and the end of the download. */
  readonly span: LookSpan;
  readonly producer: Pick<Producer, 'send'>;
  /** Given where most rows are known already: those are only confirmed. A first load has nothing to be asked about. */
  readonly register?: Pick<RegisterReader, 'known'> | undefined;
  readonly deadLetters: DeadLetters;
  readonly epsilonMs: number;
  readonly topic?: string;
  /** Called from time to time with the rows published so far. */
  readonly onProgress?: (rows: number) => void;
  readonly signal: AbortSignal;
};

// Malformed rows are kept aside one by one; where they are many, it is the file that is wrong.
const MAX_BAD_SHARE = 0.01;
const ALWAYS_ALLOWED_BAD = 100;

/**
 * Publishes a bulk result: CSV rows → canonical observations → Kafka, as a stream; what is in flight is bounded by bytes.
 * @returns rows published, once each is acknowledged, with the least and the greatest id, and rows that went to the dead letters.
 * @throws {BulkFileError}
 */
export async function publishRows({ rows, jobId, module, span, producer, register, deadLetters, epsilonMs, topic = topicOf(module), onProgress = () => undefined, signal }: PublishRowsOptions): Promise<PublishedRows & { readonly bad: number }> {
  const batches = createBatchProducer({ producer, topic });
  const toMessage = seenMessages(module, 'bulk');
  const say = lookMessages(module, 'bulk', epsilonMs);
  const bad: DeadLetter[] = [];
  const reject = (key: string, place: { line: number } | { row: number }, cause: string): void => void bad.push({ source: 'bulk-row', key, position: { module: module.apiName, jobId, ...place }, code: 'BULK_ROW_MALFORMED', cause });
  let read: ReturnType<typeof rowReader> | undefined;
  let [first, last] = ['', ''];
  let published = 0;
  let unreadable = 0;
  for await (const batch of rows(({ line, cause }) => reject('', { line }, cause))) {
    signal.throwIfAborted();
    const body = read === undefined ? batch.slice(1) : batch;
    read ??= rowReader(module, batch[0] ?? [], span);
    // What is asked about is read as a batch; else row by row, so that none lives longer than its message takes.
    const sightings = register === undefined ? undefined : body.map(read);
    const known = register === undefined || sightings === undefined ? undefined : await register.known(module.apiName, idsOf(sightings));
    for (const [at, row] of body.entries()) {
      const sighting = sightings?.[at] ?? read(row);
      if ('problem' in sighting) {
        unreadable += 1;
        reject(sighting.id, { row: published + unreadable + 1 }, sighting.problem);
        continue;
      }
      published += 1;
      if (isLowerId(last, sighting.id)) last = sighting.id;
      if (first === '' || isLowerId(sighting.id, first)) first = sighting.id;
      const full = batches.add(known === undefined ? toMessage(sighting) : say(sighting, known.get(sighting.id), span.lowerMs).message);
      if (full !== undefined) await full;
    }
    onProgress(published);
  }
  if (read === undefined) throw new BulkFileError('the result is empty, without even a header', 'BULK_FILE_DAMAGED');
  if (bad.length > Math.max(ALWAYS_ALLOWED_BAD, published * MAX_BAD_SHARE)) throw new BulkFileError(`${bad.length} of ${published + bad.length} rows cannot be read, e.g. ${JSON.stringify(bad[0]?.position)}: ${bad[0]?.cause}`, 'BULK_ROWS_MALFORMED');
  await batches.flush();
  await deadLetters.put(bad);
  return { rows: published, ids: first === '' ? null : { first, last }, bad: bad.length };
}

const idsOf = (sightings: readonly ReadRow[]): string[] => sightings.flatMap((sighting) => ('problem' in sighting ? [] : [sighting.id]));
