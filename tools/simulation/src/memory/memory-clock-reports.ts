import type { ClockNote, ClockReports } from '@lockstep/postgres';

/** Clock reports in memory. @param now the database's clock. */
export function memoryClockReports(now: () => Date): ClockReports {
  const notes = new Map<string, { readonly note: ClockNote; readonly notedAt: Date }>();
  return {
    note: async (role, note) => void notes.set(role, { note, notedAt: now() }),
    all: async () =>
      [...notes].map(([role, { note: { now: believed, ...note }, notedAt }]) => ({ role, ...note, databaseAheadMs: notedAt.getTime() - believed.getTime(), agoMs: now().getTime() - notedAt.getTime() })),
  };
}
