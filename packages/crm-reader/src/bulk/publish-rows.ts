import { BulkFileError, type ReadRow, rowReader, type RowReaderOptions } from '@lockstep/bulk-file';
import { isLowerId } from '@lockstep/completeness';
import { createBatchProducer, type Producer } from '@lockstep/kafka';
import { type ModuleDefinition, topicOf } from '@lockstep/modules';
import type { PublishedRows, RegisterReader } from '@lockstep/postgres';
import type { LookSpan } from '@lockstep/record-log';

import type { DeadLetter } from '../dead-letters.ts';
import { type LookMessages, lookMessages, seenMessages } from '../record-publisher.ts';
import { tooLarge } from '../sighting.ts';
import type { BulkResult } from './bulk-results.ts';
import { type LongText, longTexts } from './long-texts.ts';

export type PublishRowsOptions = {
  readonly rows: BulkResult['rows'];
  readonly jobId: string;
  /** Names the reading in the log, e.g. `initial run 3, page 1`. */
  readonly reading: string;
  readonly module: ModuleDefinition;
  /** CRM times: the job's creation, and the end of the download. */
  readonly span: LookSpan;
  /** Rows that the job has promised. */
  readonly promised: number;
  readonly producer: Pick<Producer, 'send'>;
  /** Given where most rows are known already: those are only confirmed. A first load has nothing to be asked about. */
  readonly register?: Pick<RegisterReader, 'known'> | undefined;
  /** By field, how its multi-select cells are read; see `RowReaderOptions`. */
  readonly multiSelects?: RowReaderOptions['multiSelects'];
  /** Fields of which a few long texts are collected. */
  readonly textareas?: ReadonlySet<string>;
  readonly epsilonMs: number;
  /** False where the same page was requested before: then it is its few rows that cannot be read, all of them, and not the file. */
  readonly isFirst?: boolean;
  readonly topic?: string;
  /** Called from time to time with the rows published so far. */
  readonly onProgress?: (rows: number) => void;
  readonly signal: AbortSignal;
};

/** What came of a file's rows. */
export type RowsOutcome = PublishedRows & {
  /** Rows that cannot be read; to be kept aside once the page is taken. */
  readonly bad: readonly DeadLetter[];
  /** Records with a multi-select cell that the picklist does not explain, and the field; the first thousand. */
  readonly unexplained: readonly { readonly id: string; readonly fields: readonly string[] }[];
  /** A few long texts, to be compared with what a query shows of them. */
  readonly longTexts: readonly LongText[];
};

// Malformed rows are kept aside one by one; where they are more than a handful, or all, it is the file that is wrong.
const MAX_BAD_SHARE = 0.001;
const ALWAYS_ALLOWED_BAD = 10;
const MAX_UNEXPLAINED = 1_000;

/**
 * Publishes a bulk result: CSV rows → canonical observations → Kafka, as a stream; what is in flight is bounded by bytes.
 * @returns once each row is acknowledged.
 * @throws {BulkFileError} `BULK_ROWS_MISMATCH` where the file has more or fewer rows than were promised, `BULK_ROWS_MALFORMED` where too many cannot be read.
 */
export async function publishRows({ rows, jobId, reading, module, span, promised, producer, register, multiSelects, textareas = new Set(), epsilonMs, isFirst = true, topic = topicOf(module), onProgress = () => undefined, signal }: PublishRowsOptions): Promise<RowsOutcome> {
  const batches = createBatchProducer({ producer, topic });
  const name = `${reading}, job ${jobId}`;
  const toMessage = seenMessages(module, 'bulk', name);
  const say = lookMessages(module, 'bulk', epsilonMs);
  const bad: DeadLetter[] = [];
  const unexplained: { id: string; fields: readonly string[] }[] = [];
  const reject = (key: string, place: { line: number } | { row: number }, cause: string): void => void bad.push({ source: 'bulk-row', key, position: { module: module.apiName, jobId, ...place }, code: 'BULK_ROW_MALFORMED', cause });
  const samples = longTexts(module, textareas);
  let read: ReturnType<typeof rowReader> | undefined;
  let [first, last] = ['', ''];
  let published = 0;
  let unreadable = 0;
  for await (const batch of rows(({ line, cause }) => reject('', { line }, cause))) {
    signal.throwIfAborted();
    const body = read === undefined ? batch.slice(1) : batch;
    read ??= rowReader(module, batch[0] ?? [], { span, ...(multiSelects === undefined ? {} : { multiSelects }) });
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
      samples.take(sighting);
      if (isLowerId(last, sighting.id)) last = sighting.id;
      if (first === '' || isLowerId(sighting.id, first)) first = sighting.id;
      if (sighting.unexplained !== undefined && unexplained.length < MAX_UNEXPLAINED) unexplained.push({ id: sighting.id, fields: sighting.unexplained });
      const full = known === undefined ? batches.add(toMessage(sighting)) : addAll(batches, say(sighting, known.get(sighting.id), { lowerMs: span.lowerMs, name }).messages);
      if (full !== undefined) await full;
    }
    onProgress(published);
  }
  if (read === undefined) throw new BulkFileError('the result is empty, without even a header', 'BULK_FILE_DAMAGED');
  checkRows({ published, bad, promised, isFirst });
  const large = (await batches.flush()).map((one) => bulkRowOf(tooLarge('bulk-row', module, one), jobId));
  return { rows: published - large.length, ids: first === '' ? null : { first, last }, bad: [...bad, ...large], unexplained, longTexts: samples.found };
}

function addAll(batches: ReturnType<typeof createBatchProducer>, messages: LookMessages['messages']): Promise<void> | undefined {
  let full: Promise<void> | undefined;
  for (const message of messages) full = batches.add(message);
  return full;
}

const bulkRowOf = (letter: DeadLetter, jobId: string): DeadLetter => ({ ...letter, position: { ...letter.position, jobId } });

function checkRows({ published, bad, promised, isFirst }: { published: number; bad: readonly DeadLetter[]; promised: number; isFirst: boolean }): void {
  const rows = published + bad.length;
  if (rows !== promised) throw new BulkFileError(`the file has ${rows} rows, the job promised ${promised}`, 'BULK_ROWS_MISMATCH');
  if (bad.length > Math.max(ALWAYS_ALLOWED_BAD, rows * MAX_BAD_SHARE) || (isFirst && rows > 0 && published === 0)) {
    throw new BulkFileError(`${bad.length} of ${rows} rows cannot be read, e.g. ${JSON.stringify(bad[0]?.position)}: ${bad[0]?.cause}`, 'BULK_ROWS_MALFORMED');
  }
}

const idsOf = (sightings: readonly ReadRow[]): string[] => sightings.flatMap((sighting) => ('problem' in sighting ? [] : [sighting.id]));
