import type { DecodedRecord } from './decode-record.ts';

/** A transaction that its producer gave up, as a broker names it beside the records: it begins at this offset. */
export type AbortedTransaction = { readonly producerId: string; readonly firstOffset: string };

const ABORT = 0;

/**
 * Messages without those of transactions that were given up, and without the records that end transactions. A broker sends all of them, and says which
 * transactions were given up; each ends at its producer's next marker.
 * @see Kafka documentation, "Implementation: record batch", control batches; KIP-98
 */
export function messagesAmong(records: readonly DecodedRecord[], aborted: readonly AbortedTransaction[]): readonly DecodedRecord[] {
  if (aborted.length === 0) return records.some(({ isControlRecord }) => isControlRecord) ? records.filter(({ isControlRecord }) => !isControlRecord) : records;
  const coming = aborted.map(({ producerId, firstOffset }) => ({ producerId, firstOffset: Number(firstOffset) })).toSorted((a, b) => a.firstOffset - b.firstOffset);
  const givenUp = new Set<string>();
  return records.filter((record) => {
    for (let [next] = coming; next !== undefined && next.firstOffset <= record.offset; [next] = coming) givenUp.add((coming.shift() as typeof next).producerId);
    const producer = record.transactionOf;
    if (!record.isControlRecord) return producer === undefined || !givenUp.has(producer);
    if (producer !== undefined && typeOf(record) === ABORT) givenUp.delete(producer);
    return false;
  });
}

/** A marker's key is its version and its type. */
const typeOf = ({ key }: DecodedRecord): number | undefined => (key !== null && key.length >= 4 ? key.readInt16BE(2) : undefined);
