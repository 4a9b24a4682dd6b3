import { isAliveBy, isSettledBy } from './life-times.ts';
import type { FieldValue, Observation, RecordConfirmed } from './observation.ts';
import { compareVersions, DEFAULT_EPSILON_MS, type Version, versionTime } from './version.ts';

/** The fields of one content, with the coverage that names them. */
export type Content = { readonly coverage: string; readonly fields: readonly FieldValue[] };

/**
 * What the observations of one record amount to. Contents and deletions are a maximum in each component, so order, duplicates,
 * batch cuts and crashes cannot change where they end. Two things hold for their place in the log: a confirmation, which has no
 * content of its own, and a content of another coverage, which leaves what it does not speak of as it stands.
 */
export type Register = {
  /** The greatest version seen; its time of the look is that of the latest confirmation. */
  readonly live?: Version;
  readonly content?: Content;
  /** What stood before under other coverages, the latest first, one for each coverage. */
  readonly earlier?: readonly Content[];
  /** Upper bound of the latest deletion: the CRM's `deleted_time` has whole seconds, so 999 ms are added. */
  readonly deletedMs?: number;
  /** When the CRM last listed the record as deleted. */
  readonly listedMs?: number;
};

/** The register of a record of which nothing is known. */
export const emptyRegister: Register = {};

/** The legacy row as the register has it. A field outside `content`'s coverage has its value from the first of `earlier` that covers it. */
export type FoldedRow = { readonly modifiedMs: number; readonly content: Content; readonly earlier?: readonly Content[]; readonly deletedMs: number | undefined };

/** The register that one content or deletion alone amounts to. */
export function registerOf(observation: Exclude<Observation, RecordConfirmed>): Register {
  switch (observation.type) {
    case 'RecordDeleted':
      return { deletedMs: observation.deletedMs + 999, ...(observation.listedMs === undefined ? {} : { listedMs: observation.listedMs }) };
    case 'RecordSeen':
    case 'RecordRepaired':
      return { live: versionOf(observation), content: { coverage: observation.coverage, fields: observation.fields } };
  }
}

/** The component-wise maximum of two registers: associative and idempotent, and commutative among contents of one coverage. */
export function merge(before: Register, after: Register): Register {
  const isNewer = after.live !== undefined && (before.live === undefined || compareVersions(after.live, before.live) > 0);
  const { live, content, earlier } = isNewer ? { ...after, earlier: othersOf(after, before) } : before;
  const deletedMs = Math.max(before.deletedMs ?? -Infinity, after.deletedMs ?? -Infinity);
  const listedMs = Math.max(before.listedMs ?? -Infinity, after.listedMs ?? -Infinity);
  return {
    ...(live === undefined ? {} : { live }),
    ...(content === undefined ? {} : { content }),
    ...(earlier === undefined || earlier.length === 0 ? {} : { earlier }),
    ...(deletedMs === -Infinity ? {} : { deletedMs }),
    ...(listedMs === -Infinity ? {} : { listedMs }),
  };
}

/**
 * A register after one more observation. A confirmation counts where it confirms the content that stands, and never revives: a row that
 * was removed has no content to come back with, so a look is needed that sees all of it.
 */
export function observe(register: Register, observation: Observation, epsilonMs = DEFAULT_EPSILON_MS): Register {
  if (observation.type !== 'RecordConfirmed') return merge(register, registerOf(observation));
  const { live } = register;
  if (live === undefined || !isSameContent(live, observation) || observation.observedMs <= live.observedMs) return register;
  const confirmed = { ...register, live: { ...live, observedMs: observation.observedMs } };
  return isAlive(confirmed, epsilonMs) === isAlive(register, epsilonMs) ? confirmed : register;
}

/** Folds the observations of one record, in the order of the log. */
export const fold = (observations: Iterable<Observation>, epsilonMs = DEFAULT_EPSILON_MS): Register => {
  let register = emptyRegister;
  for (const observation of observations) register = observe(register, observation, epsilonMs);
  return register;
};

/** Whether the record exists in the CRM as far as is known: see {@link isAliveBy}. */
export const isAlive = ({ live, deletedMs }: Pick<Register, 'live' | 'deletedMs'>, epsilonMs = DEFAULT_EPSILON_MS): boolean => isAliveBy({ observedMs: live?.observedMs, deletedMs }, epsilonMs);

/** Whether no newer content of the same second, and no doubt about a deletion, can be outstanding: see {@link isSettledBy}. */
export const isSettled = ({ live, deletedMs, listedMs }: Pick<Register, 'live' | 'deletedMs' | 'listedMs'>, epsilonMs = DEFAULT_EPSILON_MS): boolean =>
  isSettledBy({ modifiedMs: live?.modifiedMs, observedMs: live?.observedMs, deletedMs, listedMs }, epsilonMs);

/** The row a register stands for; null while no content is known. A deleted record keeps its row, with `deletedMs` set. */
export function rowOf(register: Register, epsilonMs = DEFAULT_EPSILON_MS): FoldedRow | null {
  const { live, content, earlier } = register;
  if (live === undefined || content === undefined) return null;
  return { modifiedMs: live.modifiedMs, content, ...(earlier === undefined ? {} : { earlier }), deletedMs: isAlive(register, epsilonMs) ? undefined : register.deletedMs };
}

const versionOf = ({ modifiedMs, versionMs, observedMs, hash }: Version): Version => ({ modifiedMs, observedMs, hash, ...(versionMs === undefined ? {} : { versionMs }) });

/** Whether two versions differ in the time of the look at most. */
const isSameContent = (a: Version, b: Version): boolean => a.modifiedMs === b.modifiedMs && versionTime(a) === versionTime(b) && a.hash === b.hash;

/** What stays of other coverages once `after` stands. */
function othersOf(after: Register, before: Register): readonly Content[] {
  const others = new Map<string, Content>();
  for (const content of [...(after.earlier ?? []), before.content, ...(before.earlier ?? [])]) {
    if (content !== undefined && content.coverage !== after.content?.coverage && !others.has(content.coverage)) others.set(content.coverage, content);
  }
  return [...others.values()];
}
