import { compareVersions, type Coverage, coverage as coverageOfFields, type CoverageDeclared, emptyRegister, type Observation, observe, type RecordEvent, type Register } from '@lockstep/record-log';

import { changeOf, type CoverageFields, type Known, namedFields } from './change.ts';
import type { LogMessage, Parked } from './decode.ts';
import type { ConsumedChange, Observed, Outcome, Place } from './definition.ts';

/** What the events of a batch amount to. */
export type Folded = {
  readonly changes: readonly ConsumedChange[];
  readonly observations: readonly Observed[];
  /** The records whose register has changed. */
  readonly records: ReadonlyMap<string, Known>;
  readonly declared: readonly Coverage[];
  readonly parked: readonly Parked[];
};

export type FoldOptions = {
  readonly module: string;
  readonly epsilonMs: number;
  /** What stood before, of each record that an event is about. */
  readonly known: ReadonlyMap<string, Known>;
  /** The coverages that the log has declared so far, by id. */
  readonly coverages: ReadonlyMap<string, readonly string[]>;
  readonly placeOf: (message: LogMessage) => Place;
};

const unknown: Known = { register: emptyRegister, wasAlive: false };

/**
 * Folds events in the order of the log, each as `@lockstep/record-log` defines it. A pure function of the log: however it is cut into batches, and
 * however often it is replayed, the same messages make the same changes.
 */
export function foldEvents(events: readonly { readonly message: LogMessage; readonly event: RecordEvent }[], options: FoldOptions): Folded {
  const { module, epsilonMs, placeOf } = options;
  const coverages = new Map(options.coverages);
  const fieldsOf: CoverageFields = (id) => coverages.get(id) ?? [];
  const folded = { changes: [] as ConsumedChange[], observations: [] as Observed[], records: new Map<string, Known>(), declared: [] as Coverage[], parked: [] as Parked[] };
  for (const { message, event } of events) {
    const fault = faultOf(event, coverages);
    if (fault !== null) {
      folded.parked.push({ message, ...fault });
    } else if (event.type === 'CoverageDeclared') {
      coverages.set(event.coverage, event.fields);
      folded.declared.push({ id: event.coverage, fields: event.fields });
    } else {
      const before = folded.records.get(event.id) ?? options.known.get(event.id) ?? unknown;
      const { outcome, register } = observed(before.register, event, epsilonMs);
      const place = placeOf(message);
      folded.observations.push({ module, id: event.id, observation: event, outcome, stated: statedBy(event, outcome, before.register, fieldsOf), place });
      if (register === before.register) continue;
      const change = changeOf({ module, observation: event, before, after: register, epsilonMs, fieldsOf, place });
      if (change !== null) folded.changes.push(change);
      folded.records.set(event.id, { register, wasAlive: before.wasAlive || (change !== null && change.after !== null) });
    }
  }
  return folded;
}

/** The register after an observation; the very same where nothing of it has changed. */
function observed(before: Register, observation: Observation, epsilonMs: number): { readonly outcome: Outcome; readonly register: Register } {
  switch (observation.type) {
    case 'RecordConfirmed': {
      const register = observe(before, observation, epsilonMs);
      return { outcome: register === before ? 'not confirmed' : 'confirmed', register };
    }
    case 'RecordDeleted': {
      const register = observe(before, observation, epsilonMs);
      const isSame = register.deletedMs === before.deletedMs && register.listedMs === before.listedMs;
      return { outcome: 'deleted', register: isSame ? before : register };
    }
    case 'RecordSeen':
    case 'RecordRepaired': {
      const order = before.live === undefined ? 1 : compareVersions(observation, before.live);
      return order > 0 ? { outcome: 'won', register: observe(before, observation, epsilonMs) } : { outcome: order < 0 ? 'outdated' : 'tie', register: before };
    }
  }
}

function statedBy(observation: Observation, outcome: Outcome, before: Register, fieldsOf: CoverageFields): Observed['stated'] {
  const { type } = observation;
  if (type === 'RecordDeleted') return null;
  if (type !== 'RecordConfirmed') return { coverage: observation.coverage, fields: namedFields(observation, fieldsOf), version: observation };
  const { content } = before;
  return outcome !== 'confirmed' || content === undefined ? null : { coverage: content.coverage, fields: namedFields(content, fieldsOf), version: observation };
}

/** Why an event cannot be folded; null where it can. */
function faultOf(event: RecordEvent, coverages: ReadonlyMap<string, readonly string[]>): Pick<Parked, 'code' | 'cause'> | null {
  switch (event.type) {
    case 'CoverageDeclared':
      return isItsOwn(event) ? null : { code: 'COVERAGE_UNKNOWN', cause: `coverage ${event.coverage} is declared with fields that are not its own` };
    case 'RecordSeen':
    case 'RecordRepaired': {
      const fields = coverages.get(event.coverage);
      if (fields === undefined) return { code: 'COVERAGE_UNKNOWN', cause: `the log never declared coverage ${event.coverage}` };
      return fields.length === event.fields.length ? null : { code: 'EVENT_FIELDS_MALFORMED', cause: `${event.fields.length} fields, and coverage ${event.coverage} has ${fields.length}` };
    }
    default:
      return null;
  }
}

const isItsOwn = ({ coverage, fields }: CoverageDeclared): boolean => coverageOfFields(fields).id === coverage;
