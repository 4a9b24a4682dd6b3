import type { Incident, Incidents } from '@lockstep/postgres';

/** Incidents in memory. */
export function memoryIncidents(now: () => Date): Incidents {
  const rows: Incident[] = [];
  const openAt = (module: string, kind: string): number => rows.findIndex((row) => row.module === module && row.kind === kind && row.closedAt === null);
  return {
    open: async (module, kind, details) => {
      const at = openAt(module, kind);
      if (at < 0) rows.push({ id: rows.length + 1, module, kind, openedAt: now(), lastSeenAt: now(), closedAt: null, details });
      else rows[at] = { ...(rows[at] as Incident), lastSeenAt: now(), details };
      return at < 0;
    },
    close: async (module, kind) => {
      const at = openAt(module, kind);
      if (at >= 0) rows[at] = { ...(rows[at] as Incident), closedAt: now() };
      return at >= 0;
    },
    list: async ({ all = false, limit = 100 } = {}) => rows.filter(({ closedAt }) => all || closedAt === null).toReversed().slice(0, limit),
  };
}
