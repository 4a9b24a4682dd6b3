import { refilled } from '@lockstep/completeness';

import type { CreditStore } from './credit-budget.ts';

/** Buckets of one process, for tests and tools; an installation shares its buckets in the database. @param now epoch milliseconds. */
export function memoryCreditStore(now: () => number): CreditStore {
  const buckets = new Map<string, { readonly level: number; readonly atMs: number }>();
  const limits = new Map<'edition' | 'header', { readonly perDay: number; readonly atMs: number }>();
  return {
    draw: async (name, { capacity, perDay, credits, keep, ceiling }) => {
      const { level: before, atMs } = buckets.get(name) ?? { level: Number.POSITIVE_INFINITY, atMs: now() };
      const filled = Math.min(refilled({ capacity, perDay }, before, now() - atMs), ceiling ?? Number.POSITIVE_INFINITY);
      const isDrawn = credits <= 0 || filled - credits >= keep;
      const level = Math.min(capacity, filled - (isDrawn ? credits : 0));
      buckets.set(name, { level, atMs: now() });
      return { isDrawn, level };
    },
    limits: async () => [...limits].map(([source, { perDay, atMs }]) => ({ source, perDay, ageMs: now() - atMs })),
    noteLimit: async (source, perDay) => void limits.set(source, { perDay, atMs: now() }),
  };
}
