import type { FieldMissing, FieldsMissing } from '@lockstep/postgres';

/** `lockstep.field_missing` in memory. */
export function memoryFieldsMissing(): FieldsMissing & { readonly of: (module: string) => readonly FieldMissing[] } {
  const rows = new Map<string, FieldMissing>();
  return {
    of: (module) => [...rows.values()].filter((row) => row.module === module),
    all: async () => [...rows.values()],
    note: async (missing) => {
      const before = rows.get(`${missing.module}/${missing.field}`);
      rows.set(`${missing.module}/${missing.field}`, { ...missing, since: before !== undefined && before.since < missing.since ? before.since : missing.since, isBack: false });
    },
    back: async (module, field) => {
      const before = rows.get(`${module}/${field}`);
      if (before !== undefined) rows.set(`${module}/${field}`, { ...before, isBack: true });
    },
    done: async (module, field) => {
      if (rows.get(`${module}/${field}`)?.isBack === true) rows.delete(`${module}/${field}`);
    },
  };
}
