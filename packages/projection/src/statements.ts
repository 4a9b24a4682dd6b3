import { hash } from 'node:crypto';

import type { PoolClient, QueryConfig, QueryResult } from 'pg';

/** A statement with its values. */
export type Statement = QueryConfig<unknown[]>;

/** A statement that Postgres parses and plans once a connection. */
export type Prepared = { readonly name: string; readonly text: string };

/** @param shape of the table whose types are parameters: Postgres keeps to the very types it prepared with, also where one of the same name has taken the place. */
export const prepared = (text: string, shape = ''): Prepared => ({ name: hash('sha256', shape + text).slice(0, 32), text });

/**
 * Sends statements without waiting for each other's answers: one round trip for all of them. After one that fails, Postgres
 * refuses the rest of its transaction.
 * @returns their results, in order; rejects with the first failure.
 */
export async function sendTogether(client: PoolClient, statements: readonly Statement[]): Promise<QueryResult[]> {
  // An option of pg's client that its types do not know yet; nothing else may be under way on the connection.
  const pipelining = client as PoolClient & { pipeline: boolean };
  pipelining.pipeline = true;
  try {
    const results = await Promise.allSettled(statements.map((statement) => client.query<Record<string, unknown>>(statement)));
    return results.map((result) => {
      if (result.status === 'rejected') throw result.reason;
      return result.value;
    });
  } finally {
    pipelining.pipeline = false;
  }
}

/** An identifier as the catalogue has it, which may hold quotes. Those of a mapping are plain. */
export const quoted = (identifier: string): string => `"${identifier.replaceAll('"', '""')}"`;
