import { request } from 'undici';
import { z } from 'zod';

import { UsageError } from './errors.ts';

const run = z.object({
  kind: z.string(),
  state: z.string(),
  pages: z.number(),
  pagesPublished: z.number(),
  rows: z.number(),
  expectedRows: z.number().nullable(),
  rowsPerSecond: z.number(),
  etaSeconds: z.number().nullable(),
  failure: z.string().nullable(),
});
const module = z.object({
  module: z.string(),
  state: z.string(),
  channel: z.object({ grantedUntil: z.string(), renewAt: z.string() }).nullable(),
  run: run.nullable(),
  behind: z.number(),
  parked: z.number(),
  problem: z.string().nullable(),
});
const schema = z.object({ hintsWaiting: z.number().nullable(), modules: z.array(module) });

/** What the scheduler's status route answers, as far as people want to know. */
export type Status = z.infer<typeof schema>;

/** Asks the scheduler. @throws {UsageError} when it does not answer. */
export async function fetchStatus(schedulerUrl: string): Promise<Status> {
  try {
    const { body } = await request(`${schedulerUrl}/status`, { headersTimeout: 10_000 });
    return schema.parse(await body.json());
  } catch (cause) {
    throw new UsageError(`The scheduler at ${schedulerUrl} does not answer: ${cause instanceof Error ? cause.message : String(cause)}`);
  }
}

const number = new Intl.NumberFormat('en-US');

/** The status for people: a line a module, and what is wrong below it. */
export function statusText({ modules, hintsWaiting }: Status): string {
  const rows = [['module', 'state', 'rows', 'pages', 'rate', 'to apply', 'parked', 'channel until'], ...modules.map(cells)];
  const widths = rows[0]?.map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0))) ?? [];
  const lines = rows.map((row) => row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join('  ').trimEnd());
  const problems = modules.flatMap((one) => [one.problem, one.run?.failure].filter((text) => typeof text === 'string').map((text) => `${one.module}: ${text}`));
  return [...lines, ...(hintsWaiting === null ? [] : [`${hintsWaiting} notifications wait for a look`]), ...problems, ''].join('\n');
}

function cells({ module: name, state, run: known, behind, parked, channel }: Status['modules'][number]): string[] {
  const eta = known?.etaSeconds === null || known === null ? '' : `, ${known.etaSeconds} s left`;
  return [
    name,
    state,
    known === null ? '-' : `${number.format(known.rows)}${known.expectedRows === null ? '' : ` of ${number.format(known.expectedRows)}`}`,
    known === null ? '-' : `${known.pagesPublished}/${known.pages}`,
    known === null ? '-' : `${number.format(known.rowsPerSecond)}/s${eta}`,
    number.format(behind),
    number.format(parked),
    channel === null ? 'none' : channel.grantedUntil,
  ];
}
