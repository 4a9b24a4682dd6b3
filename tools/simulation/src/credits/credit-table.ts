import type { CreditDayResult } from './credit-day.ts';

/** The table of the credits contract: edits a second in each of three modules, by the credits of the organisation. */
export const creditRates = [0.01, 0.1, 1, 10] as const;
export const creditBudgets = [5_000, 50_000, 500_000] as const;

/** A cell of the table, and what it came to. */
export type CreditCell = { readonly editsPerSecond: number; readonly perDay: number };
export type CreditOutcome = CreditCell & { readonly result: CreditDayResult };

export const creditCells: readonly CreditCell[] = creditRates.flatMap((editsPerSecond) => creditBudgets.map((perDay) => ({ editsPerSecond, perDay })));

/** What is wrong with a cell: more was charged than may be, or an edit was forgotten; null for nothing. */
export function faultOf({ editsPerSecond, perDay, result: { mostOfADay, allowed, unseenMs, maxMs } }: CreditOutcome): string | null {
  const cell = `${editsPerSecond} edits/s, ${perDay} credits`;
  if (mostOfADay > allowed) return `${cell}: ${mostOfADay} credits were charged within 24 hours, and ${allowed} may be`;
  return unseenMs > 2 * maxMs + 60_000 ? `${cell}: an edit has not been seen for ${duration(unseenMs)}` : null;
}

const number = new Intl.NumberFormat('en-US', { maximumFractionDigits: 0 });

/** Milliseconds as a person says them. */
export function duration(ms: number): string {
  if (ms < 120_000) return `${(ms / 1_000).toFixed(ms < 10_000 ? 1 : 0)} s`;
  return ms < 2 * 3_600_000 ? `${(ms / 60_000).toFixed(0)} min` : `${(ms / 3_600_000).toFixed(1)} h`;
}

/** The table in Markdown, a line a cell. */
export function creditTable(outcomes: readonly CreditOutcome[]): string {
  const lines = creditCells.flatMap(({ editsPerSecond, perDay }) => {
    const outcome = outcomes.find((one) => one.editsPerSecond === editsPerSecond && one.perDay === perDay);
    if (outcome === undefined) return [];
    const { p50Ms, p99Ms, maxMs, mostOfADay, allowed } = outcome.result;
    return [`| ${editsPerSecond} | ${number.format(perDay)} | ${duration(p50Ms)} | ${duration(p99Ms)} | ${duration(maxMs)} | ${number.format(mostOfADay)} of ${number.format(allowed)} |`];
  });
  return ['| edits/s and module | credits a day | p50 | p99 | max | charged in 24 h, at most |', '|---|---|---|---|---|---|', ...lines].join('\n');
}
