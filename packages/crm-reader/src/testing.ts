import type { LookAside, LooksAside } from '@lockstep/postgres';

/** What is kept aside, in memory; nothing becomes due by itself. */
export function asideInMemory(): LooksAside & { readonly kept: ReadonlyMap<string, LookAside>; readonly waiting: readonly string[] } {
  const kept = new Map<string, LookAside>();
  const waiting: string[] = [];
  return {
    kept,
    waiting,
    keep: async (module, looks) =>
      looks.flatMap((look) => {
        const isFresh = !kept.has(`${module}/${look.id}`);
        kept.set(`${module}/${look.id}`, look);
        return isFresh ? [look.id] : [];
      }),
    wait: async (module, ids) => void waiting.push(...ids.map((id) => `${module}/${id}`)),
    take: async () => [],
    answered: async (module, ids) => {
      for (const id of ids) kept.delete(`${module}/${id}`);
    },
  };
}
