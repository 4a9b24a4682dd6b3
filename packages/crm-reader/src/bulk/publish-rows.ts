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
  /** Fields that the CRM does not give at present: a file may lack them. */
  readonly missing?: ReadonlySet<string>;
  /** Writes the coverage of a module that lacks fields into each partition, before the first event that names it. */
  readonly declare?: (module: ModuleDefinition) => Promise<void>;
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
export async function publishRows({ rows, jobId, reading, module: whole, span, promised, producer, register, multiSelects, missing = new Set(), declare = () => Promise.resolve(), textareas = new Set(), epsilonMs, isFirst = true, topic = topicOf(whole), onProgress = () => undefined, signal }: PublishRowsOptions): Promise<RowsOutcome> {
  const batches = createBatchProducer({ producer, topic });
  const name = `${reading}, job ${jobId}`;
  const bad: DeadLetter[] = [];
  const unexplained: { id: string; fields: readonly string[] }[] = [];
  const reject = (key: string, place: { line: number } | { row: number }, cause: string): void => void bad.push({ source: 'bulk-row', key, position: { module: whole.apiName, jobId, ...place }, code: 'BULK_ROW_MALFORMED', cause });
  const { apiName } = whole;
  let file: FileReader | undefined;
  /** Of the fields that the file has: what it lacks and is missing in the CRM as well, its events say nothing about. */
  const openFile = async (header: readonly string[]): Promise<FileReader> => {
    const module = without(whole, new Set([...missing].filter((field) => !header.includes(field))));
    if (module !== whole) await declare(module);
    return {
      read: rowReader(module, header, { span, ...(multiSelects === undefined ? {} : { multiSelects }) }),
      toMessage: seenMessages(module, 'bulk', name),
      say: lookMessages(module, 'bulk', epsilonMs),
      samples: longTexts(module, textareas),
    };
  };
  let [first, last] = ['', ''];
  let published = 0;
  let unreadable = 0;
  for await (const batch of rows(({ line, cause }) => reject('', { line }, cause))) {
    signal.throwIfAborted();
    const body = file === undefined ? batch.slice(1) : batch;
    file ??= await openFile(batch[0] ?? []);
    const { read, say, samples, toMessage } = file;
    // What is asked about is read as a batch; else row by row, so that none lives longer than its message takes.
    const sightings = register === undefined ? undefined : body.map(read);
    const known = register === undefined || sightings === undefined ? undefined : await register.known(apiName, idsOf(sightings));
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
  if (file === undefined) throw new BulkFileError('the result is empty, without even a header', 'BULK_FILE_DAMAGED');
  checkRows({ published, bad, promised, isFirst });
  const large = (await batches.flush()).map((one) => bulkRowOf(tooLarge('bulk-row', whole, one), jobId));
  return { rows: published - large.length, ids: first === '' ? null : { first, last }, bad: [...bad, ...large], unexplained, longTexts: file.samples.found };
}

function addAll(batches: ReturnType<typeof createBatchProducer>, messages: LookMessages['messages']): Promise<void> | undefined {
  let full: Promise<void> | undefined;
  for (const message of messages) full = batches.add(message);
  return full;
}

/** How the rows of one file are read and written down. */
type FileReader = { readonly read: ReturnType<typeof rowReader>; readonly toMessage: ReturnType<typeof seenMessages>; readonly say: ReturnType<typeof lookMessages>; readonly samples: ReturnType<typeof longTexts> };

/** The module, as if these fields were not mapped. */
function without(module: ModuleDefinition, absent: ReadonlySet<string>): ModuleDefinition {
  if (absent.size === 0) return module;
  const { fields, alsoLogged = [] } = module;
  return { ...module, fields: fields.filter(({ field }) => !absent.has(field)), alsoLogged: alsoLogged.filter(({ field }) => !absent.has(field)) };
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
