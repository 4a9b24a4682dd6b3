import { instantMs, isRecordId } from '@lockstep/record-log';
import { z } from 'zod';

import { CrmError } from './errors.ts';

/** A record as a look found it. Values are JSON; numbers are numbers, or texts where one would lose digits. */
export type FoundRecord = { readonly id: string; readonly modifiedTime: string; readonly values: Readonly<Record<string, unknown>> };

/** A row of a reply that is no record: it says nothing of the rows beside it. `id` is null where not even that can be read. */
export type RefusedRow = { readonly id: string | null; readonly code: 'RECORD_ID_MALFORMED' | 'MODIFIED_TIME_MALFORMED'; readonly cause: string };

/** What the rows of a reply are. */
export type ReadRows = { readonly records: readonly FoundRecord[]; readonly refused: readonly RefusedRow[] };

// A page that ends with a row names the next page by its id and its time, so both have to be what the CRM can be asked for.
const withId = z.looseObject({ id: z.string().refine(isRecordId) });
const record = withId.extend({ Modified_Time: z.string().refine(isInstant) });

/** Parses row by row. */
export function readRows(rows: readonly unknown[]): ReadRows {
  const records: FoundRecord[] = [];
  const refused: RefusedRow[] = [];
  for (const row of rows) {
    const parsed = record.safeParse(row);
    if (!parsed.success) {
      refused.push(refusedRow(row));
      continue;
    }
    const { id, Modified_Time: modifiedTime, ...values } = parsed.data;
    records.push({ id, modifiedTime, values });
  }
  return { records, refused };
}

function isInstant(text: string): boolean {
  try {
    instantMs(text);
    return true;
  } catch {
    return false;
  }
}

function refusedRow(row: unknown): RefusedRow {
  const { data } = withId.safeParse(row);
  if (data === undefined) return { id: null, code: 'RECORD_ID_MALFORMED', cause: 'the row has no id, or one that is no number from 1 to 2^63 - 1' };
  return { id: data.id, code: 'MODIFIED_TIME_MALFORMED', cause: 'Modified_Time is no time with an offset' };
}

/**
 * Checks that a page from which the next one goes on leads any further: a chain of pages that does not advance would never end.
 * @param isBehind whether a record lies behind the end of the page before.
 * @throws {CrmError} `CRM_REPLY_UNEXPECTED`
 */
export function checkAdvance(call: string, { records, hasMore }: { readonly records: readonly FoundRecord[]; readonly hasMore: boolean }, isBehind: (last: FoundRecord) => boolean): void {
  if (!hasMore) return;
  const last = records.at(-1);
  if (last === undefined) throw new CrmError(`${call}: more records follow a page of which no row can be read, so that nothing names the next page`, 'CRM_REPLY_UNEXPECTED');
  if (!isBehind(last)) throw new CrmError(`${call}: the page ends with ${last.id} of ${last.modifiedTime}, which is not behind the end of the page before: it does not advance`, 'CRM_REPLY_UNEXPECTED');
}
