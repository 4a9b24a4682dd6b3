import { type Comparison, problemsOfWatch } from '@lockstep/harness';

import type { DemoResult } from './run-demo.ts';
import type { PermanentResult } from './permanent/run-permanent.ts';
import type { StormResult } from './storm/run-storm.ts';

/** Why the first load is no proof; empty when everything is as in the CRM. */
export function problemsOfDemo({ notificationToRow: { count, missing }, edits, ...comparison }: Pick<DemoResult, keyof Comparison | 'notificationToRow' | 'edits'>): string[] {
  return [
    ...problemsOfComparison(comparison),
    ...(missing > 0 ? [`${missing} edits never arrived`] : []),
    ...(edits > 0 && count === 0 ? ['no edit was measured on its way'] : []),
  ];
}

/** Why a storm is no proof; empty when everything is as in the CRM, and freshness never claimed what was not so. */
export function problemsOfStorm({ freshness, ...comparison }: Pick<StormResult, keyof Comparison | 'freshness'>): string[] {
  return [...problemsOfComparison(comparison), ...problemsOfWatch(freshness)];
}

/** The longest that a change may take which no fault touches. */
const FOLLOWS_WITHIN_MS = 1_000;

/** Why permanent faults cost more than what they touch, or were not healed; empty when neither is so. */
export function problemsOfPermanent({ others, left, ...comparison }: Pick<PermanentResult, keyof Comparison | 'others' | 'left'>): string[] {
  return [
    ...problemsOfComparison(comparison),
    ...(others.count === 0 ? ['no change of another record was measured'] : []),
    ...(others.missing > 0 ? [`${others.missing} changes of other records never arrived`] : []),
    ...(others.p99Ms > FOLLOWS_WITHIN_MS ? [`changes of other records took up to ${others.p99Ms} ms (p99)`] : []),
    ...(left.parked > 0 ? [`${left.parked} messages are still parked`] : []),
  ];
}

function problemsOfComparison({ rows, mismatches, untouched }: Pick<Comparison, 'rows' | 'mismatches' | 'untouched'>): string[] {
  return [
    ...(rows === 0 ? ['no row was compared'] : []),
    ...(mismatches > 0 ? [`${mismatches} values are not as in the CRM`] : []),
    ...(untouched === null || untouched.values === 0 ? ['what belongs to others was not compared'] : []),
    ...(untouched !== null && untouched.differences > 0 ? [`${untouched.differences} values that belong to others were changed`] : []),
  ];
}
