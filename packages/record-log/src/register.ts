import type { FieldValue, Observation } from './observation.ts';
import { compareVersions, DEFAULT_EPSILON_MS, type Version, versionTime } from './version.ts';

/** The fields of one content, with the coverage that names them. */
export type Content = { readonly coverage: string; readonly fields: readonly FieldValue[] };

/**
 * What all observations of one record amount to. It only grows: merging is a maximum in each component, so order, doubles,
 * batch cuts and crashes cannot change where it ends.
 */
export type Register = {
  /** The greatest version anybody saw. */
  readonly live?: Version;
  /** Upper bound of the latest deletion: the CRM's `deleted_time` has whole seconds, so 999 ms are added. */
  readonly deletedMs?: number;
  /**
   * The contents seen under the greatest version time, by hash. There is more than one only while the record is edited within
   * one second, or has been repaired; a `RecordConfirmed` points into them.
   */
  readonly contents: ReadonlyMap<string, Content>;
};

/** The register of a record nobody has said anything about. */
export const emptyRegister: Register = { contents: new Map() };

/** The legacy row as the register has it, or null when there must be none to be seen. */
export type FoldedRow = { readonly modifiedMs: number; readonly content: Content; readonly deletedMs: number | undefined };

/** The register that one observation alone amounts to. */
export function registerOf(observation: Observation): Register {
  switch (observation.type) {
    case 'RecordDeleted':
      return { deletedMs: observation.deletedMs + 999, contents: new Map() };
    case 'RecordConfirmed':
      return { live: versionOf(observation), contents: new Map() };
    case 'RecordSeen':
    case 'RecordRepaired':
      return {
        live: versionOf(observation),
        contents: new Map([[observation.hash, { coverage: observation.coverage, fields: observation.fields }]]),
      };
  }
}

/** The component-wise maximum of two registers: commutative, associative and idempotent. */
export function merge(a: Register, b: Register): Register {
  const live = greatest(a.live, b.live);
  const deletedMs = Math.max(a.deletedMs ?? -Infinity, b.deletedMs ?? -Infinity);
  return {
    ...(live === undefined ? {} : { live }),
    ...(deletedMs === -Infinity ? {} : { deletedMs }),
    contents: new Map([a, b].flatMap((r) => (r.live !== undefined && live !== undefined && versionTime(r.live) === versionTime(live) ? [...r.contents] : []))),
  };
}

/** Folds the observations of one record, in any order. */
export const fold = (observations: Iterable<Observation>): Register => {
  let register = emptyRegister;
  for (const observation of observations) register = merge(register, registerOf(observation));
  return register;
};

/** Whether the record exists in the CRM as far as we know: somebody saw it clearly after its last deletion. */
export const isAlive = ({ live, deletedMs }: Pick<Register, 'live' | 'deletedMs'>, epsilonMs = DEFAULT_EPSILON_MS): boolean =>
  live !== undefined && (deletedMs === undefined || live.observedMs > deletedMs + epsilonMs);

/** Whether no newer content of the same second, and no doubt about a deletion, can be outstanding. */
export const isSettled = ({ live, deletedMs }: Pick<Register, 'live' | 'deletedMs'>, epsilonMs = DEFAULT_EPSILON_MS): boolean =>
  live !== undefined &&
  live.observedMs >= live.modifiedMs + 1000 + epsilonMs &&
  (deletedMs === undefined || Math.abs(live.observedMs - deletedMs) > epsilonMs);

/** The row a register stands for; null while no content is known. A deleted record keeps its row, with `deletedMs` set. */
export function rowOf(register: Register, epsilonMs = DEFAULT_EPSILON_MS): FoldedRow | null {
  const content = register.live && register.contents.get(register.live.hash);
  if (register.live === undefined || content === undefined) return null;
  return { modifiedMs: register.live.modifiedMs, content, deletedMs: isAlive(register, epsilonMs) ? undefined : register.deletedMs };
}

const versionOf = ({ modifiedMs, versionMs, observedMs, hash }: Version): Version => ({ modifiedMs, observedMs, hash, ...(versionMs === undefined ? {} : { versionMs }) });

function greatest(a: Version | undefined, b: Version | undefined): Version | undefined {
  if (a === undefined || b === undefined) return a ?? b;
  return compareVersions(a, b) >= 0 ? a : b;
}
