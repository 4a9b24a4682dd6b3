import { type Fields, fieldsOfRegister } from '@lockstep/consumer';
import { compareVersions, emptyRegister, isAlive, merge, type Register, type Version, versionTime } from '@lockstep/record-log';

/** A content that was seen: its version, and what it says of the fields of its coverage. */
export type Statement = { readonly version: Version; readonly coverage: string; readonly fields: Fields };

/** A time during which a record existed with these fields: from the first of the two on, up to the second one. Epoch milliseconds of the CRM. */
export type Valid = { readonly fromMs: number; readonly toMs: number | null; readonly modifiedMs: number; readonly fields: Fields };

/** Something that is so from a time on. */
type Point = { readonly atMs: number; readonly statement: Statement } | { readonly atMs: number; readonly deletedMs: number };

/**
 * The history of a record: at each time the fold, by record-log's rules, of all that had happened by then. Contents count in the order of their versions, whenever they were seen.
 *
 * A content has happened at the time it was modified. Where it was seen clearly after a deletion that it is older than, the record was restored, which moves no modified
 * time: so it counts up to the deletion, and again from the look on.
 * @param deletions upper bounds of deletions, epoch milliseconds.
 */
export function timeline(statements: readonly Statement[], deletions: readonly number[], epsilonMs: number): Valid[] {
  const points = [...statements.flatMap((statement) => pointsOf(statement, deletions, epsilonMs)), ...deletions.map((deletedMs) => ({ atMs: deletedMs, deletedMs }))].toSorted((a, b) => a.atMs - b.atMs || order(a, b));
  const fieldsOf = namesOf(statements);
  let register = emptyRegister;
  const valid: Valid[] = [];
  for (const [at, point] of points.entries()) {
    // A restored version stands in the place of its own that counted before: so contents come in the order of their versions.
    register = merge(register, 'statement' in point ? registerOf(point.statement) : { deletedMs: point.deletedMs });
    // What happens at one time has one result.
    if (points[at + 1]?.atMs === point.atMs) continue;
    const isThere = isAlive(register, epsilonMs);
    extend(valid, point.atMs, isThere ? { modifiedMs: register.live?.modifiedMs ?? 0, fields: fieldsOfRegister(register, fieldsOf) ?? {} } : null);
  }
  return valid;
}

function pointsOf(statement: Statement, deletions: readonly number[], epsilonMs: number): Point[] {
  const { version } = statement;
  const atMs = versionTime(version);
  const outlived = deletions.filter((deletedMs) => atMs <= deletedMs && deletedMs + epsilonMs < version.observedMs);
  if (outlived.length === 0) return [{ atMs, statement }];
  const before = { ...statement, version: { ...version, observedMs: Math.min(...outlived) } };
  return [{ atMs, statement: before }, { atMs: version.observedMs, statement }];
}

const order = (a: Point, b: Point): number => ('statement' in a && 'statement' in b ? compareVersions(a.statement.version, b.statement.version) : Number('statement' in a) - Number('statement' in b));

function namesOf(statements: readonly Statement[]): (coverage: string) => readonly string[] {
  const names = new Map(statements.map(({ coverage, fields }) => [coverage, Object.keys(fields)]));
  return (coverage) => names.get(coverage) ?? [];
}

const registerOf = ({ version, coverage, fields }: Statement): Register => ({ live: version, content: { coverage, fields: Object.values(fields) } });

/** Adds what is so from a time on to what was so before. */
function extend(valid: Valid[], fromMs: number, now: Pick<Valid, 'modifiedMs' | 'fields'> | null): void {
  const last = valid.at(-1);
  const isOpen = last !== undefined && last.toMs === null;
  if (isOpen && now !== null && last.modifiedMs === now.modifiedMs && JSON.stringify(last.fields) === JSON.stringify(now.fields)) return;
  if (isOpen) valid[valid.length - 1] = { ...last, toMs: fromMs };
  if (now !== null) valid.push({ fromMs, toMs: null, ...now });
}
