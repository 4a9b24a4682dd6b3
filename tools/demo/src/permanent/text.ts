import { comparedText } from '../text.ts';
import type { PermanentResult } from './run-permanent.ts';

/** What ten faults cost, and what came of it, for people. */
export function permanentText({ rows, values, faults, others, calls, incidents, left, healedSeconds, untouched, mismatches, examples }: PermanentResult): string {
  const listed = (list: PermanentResult['incidents']): string[] => list.map(({ module, kind, details }) => `    ${kind}${module === '' ? '' : ` of ${module}`}: ${details}`);
  return [
    '',
    `  faults that stood        ${faults.length}`,
    `  changes of others        ${others.count}: p50 ${others.p50Ms} ms, p99 ${others.p99Ms} ms, the slowest ${others.maxMs} ms (${others.missing} never seen)`,
    `  calls to the CRM         ${calls} meanwhile`,
    `  incidents meanwhile      ${incidents.length}`,
    ...listed(incidents),
    `  rows compared            ${rows} (${values} values, every column), equal ${healedSeconds} s after the last fault was lifted`,
    `  left                     ${left.parked} parked, ${left.incidents.length} incidents`,
    ...listed(left.incidents),
    ...comparedText({ mismatches, examples, untouched }),
    '',
  ].join('\n');
}
