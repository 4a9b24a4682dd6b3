import type { ModuleDefinition } from '@lockstep/modules';
import { compareVersions, type Coverage, emptyRegister, type FieldValue, isAlive, type Observation, observe, type Register, rowOf, versionTime } from '@lockstep/record-log';

import type { History } from './histories.ts';

/** A row as far as it is compared: its key, times in epoch milliseconds, and the named fields' columns. */
export type Row = { readonly id: string; readonly modified: number; readonly deleted: number | null; readonly [column: string]: FieldValue | number | null };

/** What register, table and wanted looks are to be, once a log was projected beside rows that stood before. */
export type Expected = { readonly register: readonly unknown[]; readonly rows: readonly Row[]; readonly wanted: readonly string[] };

type ModelOptions = {
  readonly module: ModuleDefinition;
  readonly coverages: readonly Coverage[];
  /** The fields whose columns are compared. */
  readonly fields: readonly string[];
  readonly epsilonMs: number;
};

/** The pure fold of a log, as tables. */
export function expectedOf(history: History, standing: readonly Row[], options: ModelOptions): Expected {
  const registers = new Map<string, Register>();
  const wanted = new Set<string>();
  for (const { observation } of history) {
    const before = registers.get(observation.id) ?? emptyRegister;
    const after = observe(before, observation, options.epsilonMs);
    registers.set(observation.id, after);
    if (observation.type === 'RecordConfirmed' && after === before && isNewer(observation, before)) wanted.add(observation.id);
  }
  const rows = new Map(standing.map((row) => [row.id, row]));
  for (const [id, register] of registers) {
    const row = expectedRow(id, register, rows.get(id), options);
    if (row === null) rows.delete(id);
    else rows.set(id, row);
  }
  const known = [...registers].filter(([, { live, deletedMs }]) => live !== undefined || deletedMs !== undefined);
  return { register: known.map(([id, register]) => registerRow(id, register)).toSorted(byId), rows: [...rows.values()].toSorted(byId), wanted: [...wanted].toSorted() };
}

const byId = (a: { readonly id: string }, b: { readonly id: string }): number => (a.id < b.id ? -1 : 1);

/** Whether a confirmation says something newer than the register, by time alone. */
const isNewer = (confirmed: Extract<Observation, { type: 'RecordConfirmed' }>, { live }: Register): boolean =>
  live === undefined || compareVersions({ ...confirmed, hash: '', modifiedMs: 0, versionMs: versionTime(confirmed) }, { ...live, hash: '', modifiedMs: 0, versionMs: versionTime(live) }) > 0;

const registerRow = (id: string, { live, deletedMs, listedMs }: Register) => ({
  id,
  modified: live?.modifiedMs ?? null,
  version: live?.versionMs === live?.modifiedMs ? null : (live?.versionMs ?? null),
  observed: live?.observedMs ?? null,
  hash: live?.hash ?? null,
  deleted: deletedMs ?? null,
  listed: listedMs ?? null,
});

function expectedRow(id: string, register: Register, standing: Row | undefined, { module, coverages, fields, epsilonMs }: ModelOptions): Row | null {
  const folded = rowOf(register, epsilonMs);
  const isDead = register.deletedMs !== undefined && !isAlive(register, epsilonMs);
  if (isDead && module.onDelete.action === 'remove') return null;
  const deleted = isDead ? register.deletedMs - 999 : null;
  if (folded === null) return standing === undefined ? null : { ...standing, deleted: deleted ?? standing.deleted };
  const contents = [folded.content, ...(folded.earlier ?? [])].map(({ coverage: covered, fields: values }) => ({ names: coverages.find((one) => one.id === covered)?.fields ?? [], values }));
  const columns = fields.map((field) => {
    const speaking = contents.find(({ names }) => names.includes(field));
    const column = columnOf(module, field);
    return [column, speaking === undefined ? (standing?.[column] ?? null) : (speaking.values[speaking.names.indexOf(field)] ?? null)];
  });
  return { ...Object.fromEntries(columns), id, modified: folded.modifiedMs, deleted };
}

/** The column that a field is mapped to. */
export const columnOf = (module: ModuleDefinition, field: string): string => module.fields.find((mapping) => mapping.field === field)?.column ?? '';
