import { request } from 'undici';
import { z } from 'zod';

import { UsageError } from './errors.ts';

const plan = z.object({ rows: z.number(), pages: z.number(), credits: z.number() });
const run = z.object({
  kind: z.string(),
  state: z.string(),
  pages: z.number(),
  pagesPublished: z.number(),
  rows: z.number(),
  expectedRows: z.number().nullable(),
  plan: plan.nullable(),
  rowsPerSecond: z.number(),
  etaSeconds: z.number().nullable(),
  failure: z.string().nullable(),
});
// A scheduler of an earlier build does not say it.
const count = z.number().default(0);
const leftOut = { halted: count, aside: count, deadLetters: count, missingFields: count };
const module = z.object({
  module: z.string(),
  state: z.string(),
  channel: z.object({ grantedUntil: z.string(), renewAt: z.string() }).nullable(),
  run: run.nullable(),
  behind: z.number(),
  parked: z.number(),
  ...leftOut,
  incidents: z.number(),
  problem: z.string().nullable(),
  catchUp: z.object({ state: z.string(), rows: z.number(), unhinted: z.number() }).nullable(),
  paused: z.object({ since: z.string(), reason: z.string() }).nullable().default(null),
  heldDeletions: z.object({ deletions: z.number(), allowed: z.number() }).nullable(),
});
const freshness = z.array(z.object({ module: z.string(), seenUpTo: z.string().nullable(), settledUpTo: z.string().nullable(), refreshedAt: z.string().nullable(), verifiedAt: z.string().nullable(), differences: z.number().nullable(), parked: count, keptAside: count, deadLetters: count, missingFields: count, hidden: z.number(), unsettled: z.number(), coarserBecause: z.string().nullable().default(null) }));
const credits = z.object({ perDay: z.number().nullable(), spent: z.record(z.string(), z.number()), left: z.number().nullable(), reserve: z.number().nullable(), catchUpIntervalMs: z.number() });
const schema = z.object({ hintsWaiting: z.number().nullable(), incidents: z.number(), credits, modules: z.array(module) });

/** What the scheduler's status and freshness routes answer, as far as people need it. */
export type Status = z.infer<typeof schema> & { readonly freshness: z.infer<typeof freshness> };

/** Asks the scheduler. @throws {UsageError} when it does not answer. */
export async function fetchStatus(schedulerUrl: string): Promise<Status> {
  const [status, fresh] = await Promise.all(['status', 'freshness'].map((route) => get(schedulerUrl, route)));
  const [parsed, times] = [schema.safeParse(status), freshness.safeParse(fresh)];
  if (!parsed.success || !times.success) throw new UsageError(`The scheduler at ${schedulerUrl} is of another build, or something else answers there: its status cannot be read`);
  return { ...parsed.data, freshness: times.data };
}

/** What a route answers that cannot say more. */
const refusal = z.looseObject({ problem: z.string() });

async function get(schedulerUrl: string, route: string): Promise<unknown> {
  const { statusCode, text } = await request(`${schedulerUrl}/${route}`, { headersTimeout: 10_000 })
    .then(async ({ statusCode: code, body }) => ({ statusCode: code, text: await body.text() }))
    .catch((cause: unknown) => {
      throw new UsageError(`The scheduler at ${schedulerUrl} does not answer: ${cause instanceof Error ? cause.message : String(cause)}`);
    });
  const { data } = refusal.safeParse(asJsonOr(text, null));
  if (statusCode !== 200 && data !== undefined) throw new UsageError(data.problem);
  if (statusCode !== 200) throw new UsageError(`The scheduler at ${schedulerUrl} answers ${statusCode}: ${text.slice(0, 300)}`);
  return asJsonOr(text, null);
}

function asJsonOr(text: string, other: unknown): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return other;
  }
}

const readiness = z.object({ ok: z.boolean(), checks: z.record(z.string(), z.string()) });

/** What a projector says is not in order with it, as its `/readyz` does; null where all is, or nothing is known. */
export async function projectorProblem(projectorUrl: string | undefined): Promise<string | null> {
  if (projectorUrl === undefined) return null;
  const text = await request(`${projectorUrl}/readyz`, { headersTimeout: 5_000 }).then(async ({ body }) => await body.text(), () => null);
  if (text === null) return `it does not answer at ${projectorUrl}`;
  const parsed = readiness.safeParse(asJsonOr(text, null));
  if (!parsed.success || parsed.data.ok) return null;
  return Object.entries(parsed.data.checks).filter(([, said]) => said !== 'ok').map(([, said]) => said).join('; ');
}

const refreshed = z.object({ plan: plan.extend({ shareOfDay: z.number().nullable() }).nullable() });

/**
 * Begins to read a whole module again.
 * @param isAnyway even if that touches the credits that are left to others.
 * @returns what it takes, for people.
 * @throws {UsageError} when that cannot be now, or the scheduler does not answer.
 */
export async function refreshModule(schedulerUrl: string, module: string, { isAnyway }: { isAnyway: boolean }): Promise<string> {
  const { plan: planned } = refreshed.parse(await post(schedulerUrl, `modules/${encodeURIComponent(module)}/refresh${isAnyway ? '?anyway=true' : ''}`));
  if (planned === null) return 'the CRM would not count the records, so what it takes is not known';
  return planText(planned) + (planned.shareOfDay === null ? '' : `, ${(planned.shareOfDay * 100).toFixed(1)} % of the day's`);
}

/** Lets held deletions pass. @throws {UsageError} when nothing is held, or the scheduler does not answer. */
export const releaseDeletions = async (schedulerUrl: string, module: string): Promise<void> => void (await post(schedulerUrl, `held-deletions/${encodeURIComponent(module)}/release`));

async function post(schedulerUrl: string, path: string): Promise<unknown> {
  const { statusCode, body } = await request(`${schedulerUrl}/${path}`, { method: 'POST', headersTimeout: 10_000 }).catch((cause: unknown) => {
    throw new UsageError(`The scheduler at ${schedulerUrl} does not answer: ${cause instanceof Error ? cause.message : String(cause)}`);
  });
  const answer = z.looseObject({ problem: z.string().optional() }).parse(await body.json());
  if (statusCode !== 200) throw new UsageError(answer.problem ?? `the scheduler answered ${statusCode}`);
  return answer;
}

const number = new Intl.NumberFormat('en-US');

/** The status for people: a line a module, how fresh it is, and what is wrong below it. */
export function statusText({ modules, hintsWaiting, incidents, credits: spending, freshness: fresh }: Status, projector: string | null = null): string {
  const progress = [['module', 'state', 'rows', 'pages', 'rate', 'to apply', 'parked', 'incidents', 'channel until'], ...modules.map(cells)];
  const times = [['module', 'seen up to', 'settled up to', 'refreshed at', 'verified at', 'differences', 'parked', 'kept aside', 'dead letters', 'missing fields', 'hidden', 'unsettled'], ...fresh.map((one) => [one.module, one.seenUpTo ?? '-', one.settledUpTo ?? '-', one.refreshedAt ?? '-', one.verifiedAt ?? '-', one.differences === null ? '-' : number.format(one.differences), number.format(one.parked), number.format(one.keptAside), number.format(one.deadLetters), number.format(one.missingFields), number.format(one.hidden), number.format(one.unsettled)])];
  const problems = [...(projector === null ? [] : [`projector: ${projector}`]), ...modules.flatMap((one) => [one.problem, one.run?.failure].filter((text) => typeof text === 'string').map((text) => `${one.module}: ${text}`))];
  const held = modules.flatMap(({ module: name, heldDeletions }) => (heldDeletions === null ? [] : [`${name}: ${heldDeletions.deletions} deletions within an hour are held, ${heldDeletions.allowed} are believed. If they are right: lockstep release ${name}`]));
  const lacking = modules.flatMap(lackingText);
  const paused = modules.flatMap(({ module: name, paused: pause }) => (pause === null ? [] : [`${name} is paused since ${pause.since}${pause.reason === '' ? '' : ` (${pause.reason})`}: nothing of it is applied until "lockstep resume ${name}"`]));
  const [coarser] = fresh.flatMap(({ coarserBecause }) => coarserBecause ?? []);
  const open = modules.reduce((sum, one) => sum + one.incidents, incidents);
  const plans = modules.flatMap(({ module: name, run: known }) => (known?.state === 'running' && known.plan !== null ? [`${name}, ${known.kind}: ${planText(known.plan)}`] : []));
  return [...table(progress), '', ...table(times), '', creditsText(spending), ...(coarser === undefined ? [] : [`changes arrive later, as credits are scarce: ${coarser}`]), ...plans, ...(hintsWaiting === null ? [] : ['', hintsWaiting === 1 ? '1 notification waits for a look' : `${number.format(hintsWaiting)} notifications wait for a look`]), ...problems, ...lacking, ...paused, ...held, ...(open === 0 ? [] : [`${number.format(open)} ${open === 1 ? 'incident is' : 'incidents are'} open: lockstep incidents`]), ''].join('\n');
}

/** What the table of a module lacks for now; none where it lacks nothing. */
function lackingText({ module: name, halted, parked, aside, deadLetters, missingFields }: Status['modules'][number]): string[] {
  const parts = Object.entries({ 'partitions halted': halted, parked, 'kept aside': aside, 'dead letters': deadLetters, 'fields missing': missingFields }).flatMap(([what, many]) => (many === 0 ? [] : [`${number.format(many)} ${what}`]));
  return parts.length === 0 ? [] : [`${name} is not complete: ${parts.join(', ')}`];
}

const planText = ({ rows, pages, credits: cost }: z.infer<typeof plan>): string => `${number.format(rows)} rows in ${number.format(pages)} ${pages === 1 ? 'page' : 'pages'}, up to ${number.format(cost)} credits`;

function creditsText({ perDay, spent, left, reserve, catchUpIntervalMs }: Status['credits']): string {
  const parts = Object.entries(spent).map(([purpose, count]) => `${purpose} ${number.format(count)}`);
  const total = number.format(Object.values(spent).reduce((sum, one) => sum + one, 0));
  const budget = perDay === null || left === null || reserve === null ? 'no budget is set' : `${number.format(left)} of ${number.format(perDay)} are left, ${number.format(reserve)} of them to others`;
  return `credits of 24 hours: ${total} spent (${parts.join(', ')}); ${budget}; catch-ups every ${number.format(catchUpIntervalMs / 60_000)} min`;
}

/** Lines of equal columns. */
export function table(rows: readonly (readonly string[])[]): string[] {
  const widths = rows[0]?.map((_, column) => Math.max(...rows.map((row) => cellsOf(row[column] ?? '')))) ?? [];
  return rows.map((row) => row.map((cell, column) => cell + ' '.repeat((widths[column] ?? 0) - cellsOf(cell))).join('  ').trimEnd());
}

/** How many cells of a terminal a text takes: marks none, characters of East Asian scripts and emoji two. */
const cellsOf = (text: string): number => Array.from(text).reduce((sum, character) => sum + (/\p{M}/u.test(character) ? 0 : /[\u1100-\u115F\u2E80-\uA4CF\uAC00-\uD7A3\uF900-\uFAFF\uFE30-\uFE6F\uFF00-\uFF60\uFFE0-\uFFE6]|\p{Emoji_Presentation}/u.test(character) ? 2 : 1), 0);

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
