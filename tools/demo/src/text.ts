import type { Comparison, StatusView } from '@lockstep/harness';

import type { DemoResult } from './run-demo.ts';

const number = new Intl.NumberFormat('en-US');
const formatted = (value: number): string => number.format(value);

/** One line that says how far the first load is. */
export function statusLine({ modules, hintsWaiting }: StatusView): string {
  const parts = modules.map(({ module, state, run, behind }) => {
    if (run === null) return `${module} ${state}`;
    const share = run.expectedRows === null ? '' : ` of ${formatted(run.expectedRows)}`;
    const eta = run.etaSeconds === null ? '' : `, ${run.etaSeconds} s left`;
    return state === 'in step' ? `${module} in step` : `${module} ${state} ${formatted(run.rows)}${share} (${formatted(run.rowsPerSecond)}/s${eta})${behind > 0 ? `, ${formatted(behind)} to apply` : ''}`;
  });
  return `${parts.join('  |  ')}${hintsWaiting !== null && hintsWaiting > 0 ? `  |  ${formatted(hintsWaiting)} ${hintsWaiting === 1 ? 'hint' : 'hints'} waiting` : ''}`;
}

/** The result for people. */
export function resultText(result: DemoResult): string {
  const { notificationToRow: latency } = result;
  const rss = Object.entries(result.peakRssMb).map(([name, mb]) => `${name} ${mb} MB`).join(', ');
  return [
    '',
    `  rows compared            ${formatted(result.rows)} (${formatted(result.values)} values, every column)`,
    `  first load               ${result.syncSeconds} s, ${formatted(result.rowsPerSecond)} rows/s, from the start of the apps to the last committed row`,
    `  meanwhile in the CRM     ${formatted(result.edits)} edits, ${formatted(result.creates)} creates, ${formatted(result.deletes)} deletes`,
    `  outdated CSV rows        ${formatted(result.outdatedCsvRowsRefused)} refused`,
    `  notification to row      p50 ${latency.p50Ms} ms, p99 ${latency.p99Ms} ms, over ${formatted(latency.count)} edits (${latency.missing} never seen)`,
    `  parked                   ${formatted(result.parked)}`,
    `  peak memory              ${rss}`,
    ...(result.heldDeletions === 0 ? [] : [`  deletions held           ${formatted(result.heldDeletions)}: more than 100, and than one in a hundred, wait for "npx lockstep release"`]),
    ...comparedText(result),
    '',
  ].join('\n');
}

/** What was compared, and what differs. */
export function comparedText({ mismatches, examples, untouched }: Pick<Comparison, 'mismatches' | 'examples' | 'untouched'>): string[] {
  const listed = (differences: readonly unknown[]): string[] => differences.slice(0, 5).map((difference) => `    ${JSON.stringify(difference)}`);
  return [
    ...(untouched === null ? [] : [`  untouched                ${formatted(untouched.values)} values in ${formatted(untouched.rows)} rows that belong to others, ${formatted(untouched.differences)} changed`, ...listed(untouched.examples)]),
    `  mismatches               ${formatted(mismatches)}`,
    ...listed(examples),
  ];
}

/** What a person sees once the first load is complete. */
export function guideText({ status, seconds, databaseUrl, exampleId, urls }: { status: StatusView; seconds: number; databaseUrl: string; exampleId: string | undefined; urls: Readonly<Record<string, string>> }): string {
  const rows = status.modules.reduce((sum, { run }) => sum + (run?.rows ?? 0), 0);
  const id = exampleId ?? '<id>';
  return [
    '',
    `Complete: ${formatted(rows)} rows of ${status.modules.map(({ module }) => module).join(', ')} in ${Math.round(seconds * 10) / 10} s. From here on every change follows within a second.`,
    '',
    'Look at the rows that changed last:',
    `  psql "${databaseUrl}" -c "select id, company, lead_score, modified_time from leads order by modified_time desc limit 5"`,
    'Edit a Lead in the CRM, and look at its row:',
    `  npx lockstep crm edit Leads ${id} Company="Ada & Sons"`,
    `  psql "${databaseUrl}" -c "select id, company, modified_time from leads where id = ${id}"`,
    'What the log holds of it:',
    `  npx lockstep history Leads ${id}`,
    'How far everything is:',
    '  npx lockstep status',
    `  ${Object.entries(urls).map(([name, url]) => `${name} ${url}/metrics`).join('   ')}`,
    '',
    'Ctrl-C ends everything. Logs are in .lockstep/logs.',
    '',
    '',
  ].join('\n');
}
