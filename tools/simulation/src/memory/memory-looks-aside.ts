import { HINTS_BACKLOG, type LookAside, type LooksAside } from '@lockstep/postgres';

const MINUTE = 60_000;

/** `lockstep.look_aside` in memory. */
export function memoryLooksAside(now: () => number): LooksAside & { readonly of: (module: string) => readonly (LookAside & { readonly since: Date })[]; readonly size: () => number } {
  const kept = new Map<string, LookAside & { readonly since: Date; readonly module: string; readonly tries: number; readonly dueMs: number }>();
  return {
    of: (module) => [...kept.values()].filter((one) => one.module === module && one.code !== HINTS_BACKLOG),
    size: () => kept.size,
    keep: async (module, looks) =>
      looks.flatMap((look) => {
        const before = kept.get(`${module}/${look.id}`);
        const tries = before === undefined || before.code === HINTS_BACKLOG ? 1 : before.tries + 1;
        kept.set(`${module}/${look.id}`, { ...look, module, since: before?.since ?? new Date(now()), tries, dueMs: now() + Math.min(MINUTE * 2 ** (tries - 1), 360 * MINUTE) });
        return tries === 1 ? [look.id] : [];
      }),
    wait: async (module, ids) => {
      for (const id of ids) {
        const before = kept.get(`${module}/${id}`);
        kept.set(`${module}/${id}`, before === undefined ? { module, id, since: new Date(now()), code: HINTS_BACKLOG, cause: 'more hints than are kept in memory', tries: 1, dueMs: now() } : { ...before, dueMs: Math.min(before.dueMs, now() + MINUTE) });
      }
    },
    take: async (module, limit) => {
      const due = [...kept].filter(([, one]) => one.module === module && one.dueMs <= now()).toSorted(([, a], [, b]) => a.dueMs - b.dueMs).slice(0, limit);
      for (const [key, one] of due) kept.set(key, { ...one, dueMs: now() + MINUTE });
      return due.map(([, { id, code }]) => ({ id, code }));
    },
    answered: async (module, ids) => {
      for (const id of ids) kept.delete(`${module}/${id}`);
    },
  };
}
