import { type Content, isAlive, type Observation, type Register, rowOf, versionTime } from '@lockstep/record-log';

import type { ConsumedChange, Fields, Place } from './definition.ts';

/** What is kept of a record: its register, and whether it was ever known as existing. */
export type Known = { readonly register: Register; readonly wasAlive: boolean };

/** The field names of a coverage. */
export type CoverageFields = (coverage: string) => readonly string[];

/** A content by field names. */
export const namedFields = ({ coverage, fields }: Content, fieldsOf: CoverageFields): Fields => Object.fromEntries(fieldsOf(coverage).map((name, i) => [name, fields[i] ?? null]));

/** A record's fields: the newest content, and of the older ones what it does not speak about. Null while no content is known. */
export function fieldsOfRegister(register: Register, fieldsOf: CoverageFields): Fields | null {
  const row = rowOf(register);
  if (row === null) return null;
  return Object.assign({}, ...[row.content, ...(row.earlier ?? [])].toReversed().map((content) => namedFields(content, fieldsOf))) as Fields;
}

export type ChangeOf = {
  readonly module: string;
  readonly observation: Observation;
  readonly before: Known;
  readonly after: Register;
  readonly epsilonMs: number;
  readonly fieldsOf: CoverageFields;
  readonly place: Place;
};

/** The change that a message made to a record's newest state; null where it made none. */
export function changeOf({ module, observation, before, after, epsilonMs, fieldsOf, place }: ChangeOf): ConsumedChange | null {
  const wasThere = isAlive(before.register, epsilonMs);
  const isThere = isAlive(after, epsilonMs);
  if (!wasThere && !isThere) return null;
  const [older, newer] = [fieldsOfRegister(before.register, fieldsOf), fieldsOfRegister(after, fieldsOf)];
  if (wasThere && isThere && after.live?.modifiedMs === before.register.live?.modifiedMs && areEqual(older, newer)) return null;
  return {
    module,
    id: observation.id,
    kind: !isThere ? 'deleted' : wasThere ? 'changed' : before.wasAlive ? 'restored' : 'created',
    before: wasThere || before.wasAlive ? older : null,
    after: isThere ? newer : null,
    modifiedAt: new Date(after.live?.modifiedMs ?? 0),
    deletedAt: isThere ? null : new Date(after.deletedMs ?? 0),
    place,
    idempotencyKey: `${module}-${observation.id}-${versionOf(observation)}`,
  };
}

/** Two messages of the same version make one change, the first time; so it names the change. */
const versionOf = (observation: Observation): string =>
  observation.type === 'RecordDeleted' ? `deleted.${observation.deletedMs}` : `${versionTime(observation)}.${observation.observedMs}.${observation.hash}`;

function areEqual(a: Fields | null, b: Fields | null): boolean {
  const [one, other] = [Object.entries(a ?? {}), b ?? {}];
  return one.length === Object.keys(other).length && one.every(([name, value]) => other[name] === value);
}
