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
  incidents: z.number(),
  problem: z.string().nullable(),
  catchUp: z.object({ state: z.string(), rows: z.number(), unhinted: z.number() }).nullable(),
  heldDeletions: z.object({ deletions: z.number(), allowed: z.number() }).nullable(),
});
const freshness = z.array(z.object({ module: z.string(), seenUpTo: z.string().nullable(), settledUpTo: z.string().nullable(), refreshedAt: z.string().nullable(), hidden: z.number(), unsettled: z.number() }));
const schema = z.object({ hintsWaiting: z.number().nullable(), incidents: z.number(), modules: z.array(module) });

/** What the scheduler's status and freshness routes answer, as far as people want to know. */
export type Status = z.infer<typeof schema> & { readonly freshness: z.infer<typeof freshness> };

/** Asks the scheduler. @throws {UsageError} when it does not answer. */
export async function fetchStatus(schedulerUrl: string): Promise<Status> {
  try {
    const answers = await Promise.all(['status', 'freshness'].map((route) => request(`${schedulerUrl}/${route}`, { headersTimeout: 10_000 })));
    const [status, fresh] = await Promise.all(answers.map(({ body }) => body.json()));
    return { ...schema.parse(status), freshness: freshness.parse(fresh) };
  } catch (cause) {
    throw new UsageError(`The scheduler at ${schedulerUrl} does not answer: ${cause instanceof Error ? cause.message : String(cause)}`);
  }
}

/** Begins to read a whole module again. @throws {UsageError} when that cannot be now, or the scheduler does not answer. */
export const refreshModule = (schedulerUrl: string, module: string): Promise<void> => tell(schedulerUrl, `modules/${encodeURIComponent(module)}/refresh`);

/** Lets held deletions pass. @throws {UsageError} when nothing is held, or the scheduler does not answer. */
export const releaseDeletions = (schedulerUrl: string, module: string): Promise<void> => tell(schedulerUrl, `held-deletions/${encodeURIComponent(module)}/release`);

async function tell(schedulerUrl: string, path: string): Promise<void> {
  const { statusCode, body } = await request(`${schedulerUrl}/${path}`, { method: 'POST', headersTimeout: 10_000 }).catch((cause: unknown) => {
    throw new UsageError(`The scheduler at ${schedulerUrl} does not answer: ${cause instanceof Error ? cause.message : String(cause)}`);
  });
  const answer = z.object({ problem: z.string().optional() }).parse(await body.json());
  if (statusCode !== 200) throw new UsageError(answer.problem ?? `the scheduler answered ${statusCode}`);
}

const number = new Intl.NumberFormat('en-US');

/** The status for people: a line a module, how fresh it is, and what is wrong below it. */
export function statusText({ modules, hintsWaiting, incidents, freshness: fresh }: Status): string {
  const progress = [['module', 'state', 'rows', 'pages', 'rate', 'to apply', 'parked', 'incidents', 'channel until'], ...modules.map(cells)];
  const times = [['module', 'seen up to', 'settled up to', 'refreshed at', 'hidden', 'unsettled'], ...fresh.map((one) => [one.module, one.seenUpTo ?? '-', one.settledUpTo ?? '-', one.refreshedAt ?? '-', number.format(one.hidden), number.format(one.unsettled)])];
  const problems = modules.flatMap((one) => [one.problem, one.run?.failure].filter((text) => typeof text === 'string').map((text) => `${one.module}: ${text}`));
  const held = modules.flatMap(({ module: name, heldDeletions }) => (heldDeletions === null ? [] : [`${name}: ${heldDeletions.deletions} deletions within an hour are held, ${heldDeletions.allowed} are believed. If they are right: lockstep release ${name}`]));
  const open = modules.reduce((sum, one) => sum + one.incidents, incidents);
  return [...table(progress), '', ...table(times), ...(hintsWaiting === null ? [] : ['', `${hintsWaiting} notifications wait for a look`]), ...problems, ...held, ...(open === 0 ? [] : [`${number.format(open)} ${open === 1 ? 'incident is' : 'incidents are'} open: lockstep incidents`]), ''].join('\n');
}

/** Lines of equal columns. */
export function table(rows: readonly (readonly string[])[]): string[] {
  const widths = rows[0]?.map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0))) ?? [];
  return rows.map((row) => row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join('  ').trimEnd());
}

function cells({ module: name, state, run: known, behind, parked, incidents, channel }: Status['modules'][number]): string[] {
  const eta = known?.etaSeconds === null || known === null ? '' : `, ${known.etaSeconds} s left`;
  return [
    name,
    state,
    known === null ? '-' : `${number.format(known.rows)}${known.expectedRows === null ? '' : ` of ${number.format(known.expectedRows)}`}`,
    known === null ? '-' : `${known.pagesPublished}/${known.pages}`,
    known === null ? '-' : `${number.format(known.rowsPerSecond)}/s${eta}`,
    number.format(behind),
    number.format(parked),
    number.format(incidents),
    channel === null ? 'none' : channel.grantedUntil,
  ];
}
