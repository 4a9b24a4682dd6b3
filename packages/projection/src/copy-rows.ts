import { isUtf8 } from 'node:buffer';

import { writeCopyFields } from './copy-text.ts';
import { type Decision, deletedTime } from './decide.ts';
import { ProjectionError } from './errors.ts';
import type { FoldedRecord } from './fold-batch.ts';
import type { WritePlan } from './write-plan.ts';

// Key, two times, tabs and the line feed: 19 + 2 × 27 + 4 bytes, rounded up.
const PREFIX_BYTES = 96;
const BEFORE_BYTES = 64;

/** A content that is written, with the deletion mark it carries (epoch milliseconds), or null for the living. */
export type Written = { readonly record: Pick<FoldedRecord, 'id' | 'modifiedMs' | 'value' | 'fieldsAt'>; readonly deletedMs: number | null };

export type CopyTextOptions<W> = {
  /** What stands before the plan's columns in the line of each: ASCII, up to 64 characters. */
  readonly before?: (winner: W) => string;
  /** Where the text is written: at least so many bytes. */
  readonly allocate?: (bytes: number) => Buffer;
};

/** Winners as COPY text for a plan's stage: straight from the messages' bytes. */
export function winnersAsCopyText<W extends Written>(winners: readonly W[], plan: WritePlan, { before, allocate = (bytes) => Buffer.allocUnsafe(bytes) }: CopyTextOptions<W> = {}): Buffer {
  let size = 0;
  for (const { record } of winners) size += record.value.length - record.fieldsAt + PREFIX_BYTES + (before === undefined ? 0 : BEFORE_BYTES);
  const text = allocate(size);
  let end = 0;
  for (const winner of winners) {
    const { record, deletedMs } = winner;
    if (before !== undefined) end += text.write(before(winner), end, 'latin1');
    const deleted = !plan.hasDeletedColumn ? '' : deletedMs === null ? '\t\\N' : `\t${exactTime('the deletion time', deletedTime(deletedMs), plan.deletedStepMs)}`;
    end += text.write(`${record.id}\t${exactTime('the modified time', new Date(record.modifiedMs).toISOString(), plan.modifiedStepMs)}${deleted}`, end, 'latin1');
    end = writeCopyFields(record.value, record.fieldsAt, plan.keep, text, end, plan.rules, plan.fieldColumns);
    text[end++] = 0x0a;
  }
  return text.subarray(0, end);
}

/** @throws {ProjectionError} `VALUE_NOT_EXACT` when the column, which keeps steps of `stepMs`, would round the time. */
export function exactTime(column: string, iso: string, stepMs: number): string {
  if (stepMs > 1 && Date.parse(iso) % stepMs !== 0) throw new ProjectionError(`${column}: the column would hold another value than the CRM's`, 'VALUE_NOT_EXACT');
  return iso;
}

/** Folded records as COPY text for the narrow stage. */
export function recordsAsCopyText(records: Iterable<FoldedRecord>): Buffer {
  let text = '';
  for (const { id, modifiedMs, versionMs, observedMs, hash, deletedMs, listedMs, partition, offset } of records) {
    const seen = hash === '' ? '\\N\t\\N\t\\N\t\\N' : `${modifiedMs}\t${versionMs === modifiedMs ? '\\N' : versionMs}\t${observedMs}\t${hash}`;
    const deleted = deletedMs < 0 ? '\\N\t\\N' : `${deletedMs}\t${listedMs < 0 ? '\\N' : listedMs}`;
    text += `${id}\t${seen}\t${deleted}\t${partition}\t${offset}\n`;
  }
  return Buffer.from(text, 'latin1');
}

/** Folded records as one array per column of the narrow stage: for small batches. */
export function recordsAsArrays(records: Iterable<FoldedRecord>): unknown[][] {
  const columns: unknown[][] = [[], [], [], [], [], [], [], [], []];
  for (const { id, modifiedMs, versionMs, observedMs, hash, deletedMs, listedMs, partition, offset } of records) {
    const seen = hash === '' ? [null, null, null, null] : [modifiedMs, versionMs === modifiedMs ? null : versionMs, observedMs, hash];
    [id, ...seen, deletedMs < 0 ? null : deletedMs, listedMs < 0 ? null : listedMs, partition, offset].forEach((value, i) => columns[i]?.push(value));
  }
  return columns;
}

/** Winners as one array of text per column of a plan: for small batches. */
export function winnersAsArrays(winners: Decision['winners'], plan: WritePlan): (string | null)[][] {
  const text = winnersAsCopyText(winners, plan);
  // COPY refuses such bytes, and a text of ours would replace them.
  if (!isUtf8(text)) throw new ProjectionError('the fields are not UTF-8', 'EVENT_FIELDS_MALFORMED');
  const rows = text.toString('utf8').split('\n').slice(0, -1);
  const cells = rows.map((row) => row.split('\t').map(fromCopyText));
  return plan.columns.map((_, i) => cells.map((row) => row[i] ?? null));
}

const unescaped: Readonly<Record<string, string>> = { b: '\b', f: '\f', n: '\n', r: '\r', t: '\t', '\\': '\\' };

const fromCopyText = (cell: string): string | null => (cell === '\\N' ? null : cell.replace(/\\(.)/g, (_, c: string) => unescaped[c] ?? c));
