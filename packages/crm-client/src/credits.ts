/** What a call is made for. */
export type CallPurpose = 'look' | 'catch-up' | 'bulk-read' | 'other';

/** As what it is counted: a call that repeats a failed one is a retry, whatever it is for. */
export type CountedAs = CallPurpose | 'retry';

/** Of a call, what decides its price. */
export type Priced = {
  readonly method: string;
  /** From `/crm` on. */
  readonly path: string;
  /** Of a query: the most rows it may return. */
  readonly maxRows?: number;
};

/**
 * What a call costs of the day's credits. Whether refused calls cost is not documented: they are counted. The status and the
 * download of a bulk job are not in the list either: 1 each.
 * @see CRM API reference, "API limits"
 */
export function creditsOf({ method, path, maxRows = 200 }: Priced): number {
  if (path.endsWith('/coql')) return queryCredits(maxRows);
  if (method === 'POST' && /^\/crm\/bulk\/v\d+\/read$/.test(path)) return 50;
  return path.endsWith('/deleted') ? 2 : 1;
}

function queryCredits(maxRows: number): number {
  if (maxRows <= 200) return 1;
  return maxRows <= 1_000 ? 2 : 3;
}
