import { DataFault } from './memory/memory-table.ts';
import type { MemoryBatch, MemoryProjection } from './memory/memory-projection.ts';

/** What a projector calls, one transaction each; any of them may fail. */
export type Transactions = { readonly [Name in 'next' | 'apply' | 'park' | 'retry']: (...given: Parameters<MemoryProjection[Name]>) => Promise<ReturnType<MemoryProjection[Name]>> };

/** The same, where nothing fails. */
export const transactionsOf = (projection: MemoryProjection): Transactions => ({
  next: async (...given) => projection.next(...given),
  apply: async (batch) => projection.apply(batch),
  park: async (...given) => projection.park(...given),
  retry: async (module) => projection.retry(module),
});

/** Applies a batch as the projector does: where a message in it cannot be applied, it is found by halving, and kept aside. */
export async function projectBatch(transactions: Pick<Transactions, 'apply' | 'park'>, batch: MemoryBatch): Promise<void> {
  try {
    await transactions.apply(batch);
  } catch (error) {
    if (!(error instanceof DataFault)) throw error;
    const { messages, from } = batch;
    if (messages.length === 1) return await transactions.park(batch, error);
    const middle = messages.length >> 1;
    const first = { ...batch, messages: messages.slice(0, middle) };
    await projectBatch(transactions, first);
    await projectBatch(transactions, { ...batch, messages: messages.slice(middle), from: (first.messages.at(-1)?.offset ?? from - 1) + 1 });
  }
}
