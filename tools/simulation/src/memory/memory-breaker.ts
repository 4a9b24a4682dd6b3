import type { DeletionBreaker } from '@lockstep/postgres';

const HOUR_MS = 3_600_000;

type Options = { readonly now: () => number; readonly allowedDeletions: number; readonly deletionsSince: (module: string, sinceMs: number) => number };

/** The breaker of deletions in memory. */
export function memoryBreaker({ now, allowedDeletions, deletionsSince }: Options): DeletionBreaker {
  const held = new Map<string, { readonly deletions: number; readonly heldAt: Date; readonly releasedUntilMs: number | null }>();
  return {
    admits: async (module, fresh) => {
      const deletions = deletionsSince(module, now() - HOUR_MS) + fresh;
      const known = held.get(module);
      if (fresh === 0 || deletions <= allowedDeletions || (known?.releasedUntilMs ?? 0) > now()) return true;
      held.set(module, { deletions, heldAt: known === undefined || known.releasedUntilMs !== null ? new Date(now()) : known.heldAt, releasedUntilMs: null });
      return false;
    },
    passed: async (module) => {
      const releasedUntilMs = held.get(module)?.releasedUntilMs ?? null;
      if (releasedUntilMs === null || releasedUntilMs < now()) held.delete(module);
    },
    release: async (module) => {
      const known = held.get(module);
      if (known !== undefined) held.set(module, { ...known, releasedUntilMs: now() + HOUR_MS });
      return known !== undefined;
    },
    held: async () => [...held].flatMap(([module, { deletions, heldAt, releasedUntilMs }]) => (releasedUntilMs === null ? [{ module, heldAt, deletions, allowed: allowedDeletions }] : [])),
  };
}
