import type { PoolClient } from 'pg';
import { to } from 'pg-copy-streams';

import { DigestSums } from './digest-sums.ts';
import type { IdHasher } from './id-hash.ts';
import { OF_MARK } from './row-digests.ts';

const [TAB, NEWLINE, BACKSLASH, N, ZERO, POINT] = [0x09, 0x0a, 0x5c, 0x4e, 0x30, 0x2e];

/** What is done with a line of COPY text: `from` and `to` are where it begins and where its newline stands. */
type OnLine = (bytes: Buffer, from: number, to: number) => void;

/** Reads a query's rows as COPY text. Once it is ended, the rest is passed over. */
export async function readLines(client: PoolClient, query: string, onLine: OnLine, ended?: AbortSignal): Promise<void> {
  let rest: Buffer | null = null;
  for await (const chunk of client.query(to(`copy (${query}) to stdout`)) as AsyncIterable<Buffer>) {
    // The connection is good for something only once all of it has come.
    if (ended?.aborted === true) continue;
    const bytes: Buffer = rest === null ? chunk : Buffer.concat([rest, chunk]);
    let from = 0;
    for (let end = bytes.indexOf(NEWLINE); end >= 0; end = bytes.indexOf(NEWLINE, from)) {
      onLine(bytes, from, end);
      from = end + 1;
    }
    rest = from === bytes.length ? null : bytes.subarray(from);
  }
}

/** Takes lines away from the sums, each under the hash of its first cell. */
export function subtractLines(sums: DigestSums, hasher: IdHasher, { head = '', hasMark = false, isNumericKey = false }: { /** What stands before each. */ readonly head?: string; /** Whether the last cell is a mark of deletion, which has a digest of its own. */ readonly hasMark?: boolean; /** Whether the first cell may have zeros behind a point, which are no part of the id. */ readonly isNumericKey?: boolean }): OnLine {
  let room = sums.room(1 << 16);
  const digest = (before: string, bytes: Buffer, from: number, end: number) => {
    if (room.length < DigestSums.start + before.length + end - from) room = sums.room((end - from + before.length) * 2);
    const at = DigestSums.start + room.write(before, DigestSums.start, 'latin1');
    return DigestSums.digest(room, at + bytes.copy(room, at, from, end));
  };
  return (bytes, from, end) => {
    const keyEnd = bytes.indexOf(TAB, from);
    const idHash = hasher.ofBytes(bytes, from, isNumericKey ? withoutScale(bytes, from, keyEnd) : keyEnd);
    let last = end;
    if (hasMark) {
      last = bytes.lastIndexOf(TAB, end - 1);
      const isMarked = !(end - last === 3 && bytes[last + 1] === BACKSLASH && bytes[last + 2] === N);
      if (isMarked) sums.subtract(idHash, digest(`${OF_MARK}${bytes.toString('latin1', from, keyEnd)}`, bytes, last, end));
    }
    sums.subtract(idHash, digest(head, bytes, from, last));
  };
}

/** Where a number ends without the zeros behind its point. */
function withoutScale(bytes: Buffer, from: number, to: number): number {
  let end = to;
  while (end > from && bytes[end - 1] === ZERO) end -= 1;
  return end > from && bytes[end - 1] === POINT ? end - 1 : to;
}
