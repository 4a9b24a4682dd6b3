import { compareVersions, type RecordEvent, versionTime } from '@lockstep/record-log';

/** Rows by their key, each as one text: what has to stand, and what stands. */
export type Rows = ReadonlyMap<string, string>;

/** What a log without deletions amounts to: the newest content of each record, and each content with the time in which it stood. */
export type LogRows = { readonly newest: Rows; readonly history: Rows };

export const newestRow = (modifiedMs: number | string, fields: string): string => `${modifiedMs} ${fields}`;
export const historyRow = (toMs: number | string | null, fields: string): string => `${toMs ?? 'now'} ${fields}`;

/**
 * Works out, by no code of a consumer, what its tables have to hold.
 * @param events of the whole topic, in any order.
 * @throws {Error} for a deletion: a measurement deletes nothing.
 */
export function rowsOfLog(events: readonly RecordEvent[]): LogRows {
  const names = new Map(events.flatMap((event) => (event.type === 'CoverageDeclared' ? [[event.coverage, event.fields] as const] : [])));
  const contents = events.filter((event) => event.type === 'RecordSeen' || event.type === 'RecordRepaired');
  if (events.some(({ type }) => type === 'RecordDeleted')) throw new Error('the topic holds a deletion');
  const [newest, history] = [new Map<string, string>(), new Map<string, string>()];
  for (const [id, all] of Map.groupBy(contents, (one) => one.id)) {
    const sorted = all.toSorted(compareVersions);
    // Of the contents of one time the greatest version counts.
    const lasting = sorted.filter((one, at) => sorted[at + 1] === undefined || versionTime(sorted[at + 1] ?? one) > versionTime(one));
    for (const [at, one] of lasting.entries()) {
      const fields = JSON.stringify(Object.fromEntries((names.get(one.coverage) ?? []).map((name, i) => [name, one.fields[i] ?? null])));
      const next = lasting[at + 1];
      history.set(`${id} ${versionTime(one)}`, historyRow(next === undefined ? null : versionTime(next), fields));
      if (next === undefined) newest.set(id, newestRow(one.modifiedMs, fields));
    }
  }
  return { newest, history };
}

/** How many rows are missing, too many, or others than they have to be. */
export function countMismatches(expected: Rows, standing: Rows): number {
  let mismatches = 0;
  for (const [key, row] of expected) if (standing.get(key) !== row) mismatches += 1;
  for (const key of standing.keys()) if (!expected.has(key)) mismatches += 1;
  return mismatches;
}
