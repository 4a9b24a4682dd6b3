import type { ModuleDefinition } from '@lockstep/modules';

import { deletedColumnOf, differencesOf, mappedColumns, type Values } from '../comparison/mapped-columns.ts';
import { type Requirement, requirementOf, type Version } from './history.ts';

/** One module's line of `lockstep.freshness`, epoch ms, and whether there is anything that its counts have to count. */
export type Claim = {
  readonly module: string;
  readonly seenMs: number | null;
  readonly settledMs: number | null;
  readonly refreshedMs: number | null;
  readonly parked: number;
  readonly hidden: number;
  readonly unsettled: number;
  readonly hasParked: boolean;
  readonly hasHidden: boolean;
};

/** Something that freshness said and that was not so. */
export type FalseClaim = {
  readonly kind: 'missing' | 'not deleted' | 'deleted' | 'outdated' | 'wrong value' | 'went backwards' | 'in the future' | 'contradiction';
  readonly module: string;
  readonly claimedUpTo: string | null;
  /** Of a record: its id, when it changed, and the first column that is wrong. */
  readonly id?: string;
  readonly changedAt?: string;
  readonly column?: string;
  readonly expected?: unknown;
  readonly actual?: unknown;
};

/** Holds claims to each other: a time never goes back and never lies ahead of the CRM's, and counts agree with what they count. */
export function judgeClaims(before: ReadonlyMap<string, Claim>, claims: readonly Claim[], crmNowMs: number): FalseClaim[] {
  return claims.flatMap((claim) => {
    const { module, seenMs, settledMs, unsettled, parked, hidden, hasParked, hasHidden } = claim;
    const found: FalseClaim[] = [];
    const report = (kind: FalseClaim['kind'], column: string, expected: unknown, actual: unknown): void => void found.push({ kind, module, claimedUpTo: instant(seenMs), column, expected, actual });
    for (const name of ['seenMs', 'settledMs', 'refreshedMs'] as const) {
      const [ms, earlierMs] = [claim[name], before.get(module)?.[name] ?? null];
      // What is settled depends on what is seen next: a look at an old record may raise a doubt about a time long past.
      if (name !== 'settledMs' && earlierMs !== null && (ms === null || ms < earlierMs)) report('went backwards', name, instant(earlierMs), instant(ms));
      if (ms !== null && ms > crmNowMs) report('in the future', name, `at most ${instant(crmNowMs)}`, instant(ms));
    }
    if (settledMs !== null && (seenMs === null || settledMs > seenMs)) report('contradiction', 'settledMs', `at most ${instant(seenMs)}`, instant(settledMs));
    if (unsettled === 0 && settledMs !== seenMs) report('contradiction', 'unsettled', 'settled as far as seen', instant(settledMs));
    if (parked > 0 !== hasParked) report('contradiction', 'parked', hasParked ? 'more than 0' : 0, parked);
    if (hidden > 0 !== hasHidden) report('contradiction', 'hidden', hasHidden ? 'more than 0' : 0, hidden);
    return found;
  });
}

/** Holds rows to a claim: every mapped value of each record that changed before it. @returns also how many records the claim covers. */
export function judgeRows({ module, versions, rows, seenMs }: { module: ModuleDefinition; versions: ReadonlyMap<string, readonly Version[]>; rows: ReadonlyMap<string, Values>; seenMs: number }): { covered: number; falseClaims: FalseClaim[] } {
  const found = { covered: 0, falseClaims: [] as FalseClaim[] };
  for (const [id, all] of versions) {
    const requirement = requirementOf(all, seenMs);
    if (requirement === undefined) continue;
    found.covered += 1;
    const fault = faultOf(module, requirement, rows.get(id));
    if (fault !== undefined) found.falseClaims.push({ module: module.apiName, id, claimedUpTo: instant(seenMs), changedAt: requirement.required.modifiedTime, ...fault });
  }
  return found;
}

function faultOf(module: ModuleDefinition, { required, allowed }: Requirement, row: Values | undefined): Pick<FalseClaim, 'kind' | 'column' | 'expected' | 'actual'> | undefined {
  const deletedColumn = deletedColumnOf(module);
  const columns = mappedColumns(module);
  const isGone = row === undefined || (deletedColumn !== null && row[deletedColumn] !== null);
  if (allowed.some(({ record }) => (record === null ? isGone : !isGone && differencesOf(columns, record, row).length === 0))) return undefined;
  if (required.record === null) return { kind: 'not deleted', expected: 'no row', actual: 'a row' };
  if (row === undefined) return { kind: 'missing', expected: 'a row', actual: 'no row' };
  if (isGone) return { kind: 'deleted', expected: 'a row', actual: `deleted at ${String(row[deletedColumn as string])}` };
  const [difference] = differencesOf(columns, required.record, row);
  return { kind: difference?.column === module.modifiedTimeColumn ? 'outdated' : 'wrong value', ...difference };
}

const instant = (ms: number | null): string | null => (ms === null ? null : new Date(ms).toISOString());
