import { request } from 'undici';
import { z } from 'zod';

import { UsageError } from './errors.ts';
import { table } from './status.ts';

const schema = z.array(z.object({ module: z.string(), kind: z.string(), openedAt: z.string(), lastSeenAt: z.string(), closedAt: z.string().nullable(), details: z.string() }));

/** What the scheduler's incidents route answers; times are ISO 8601 in UTC. */
export type Incidents = z.infer<typeof schema>;

/** Asks the scheduler. @throws {UsageError} when it does not answer. */
export async function fetchIncidents(schedulerUrl: string, { all }: { all: boolean }): Promise<Incidents> {
  try {
    const { body } = await request(`${schedulerUrl}/incidents`, { query: { all }, headersTimeout: 10_000 });
    return schema.parse(await body.json());
  } catch (cause) {
    throw new UsageError(`The scheduler at ${schedulerUrl} does not answer: ${cause instanceof Error ? cause.message : String(cause)}`);
  }
}

const minute = (time: string): string => time.slice(0, 16).replace('T', ' ');

/** The incidents for people, a line each. Times are UTC. */
export function incidentsText(incidents: Incidents): string {
  if (incidents.length === 0) return 'No incidents.\n';
  const rows = incidents.map(({ openedAt, closedAt, module, kind, details }) => [minute(openedAt), closedAt === null ? 'open' : minute(closedAt), module === '' ? '-' : module, kind, details]);
  return [...table([['since (UTC)', 'until', 'module', 'kind', 'what'], ...rows]), ''].join('\n');
}
