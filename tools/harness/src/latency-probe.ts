import { setTimeout as sleep } from 'node:timers/promises';

import pg from 'pg';

import { fetchJson } from './http.ts';

/** From the leaving of a notification to the row that shows the edit, milliseconds. */
export type Latencies = { readonly count: number; readonly p50Ms: number; readonly p99Ms: number; readonly maxMs: number; readonly missing: number };

type Edit = { readonly seq: number; readonly module: string; readonly id: string; readonly operation: string; readonly modifiedTime: string; readonly sentAtMs: number | null };
type Open = { readonly module: string; readonly id: string; readonly modifiedMs: number; readonly sentAtMs: number };

const POLL_MS = 20;

/**
 * Measures while it runs: asks the simulator which edits it notified, and the register when each was applied; register and
 * row are written in one transaction. The resolution is that of the polling, 20 ms.
 */
export class LatencyProbe {
  readonly #simulatorUrl: string;
  readonly #client: pg.Client;
  readonly #ignored: ReadonlySet<string>;
  readonly #stopping = new AbortController();
  readonly #samples: number[] = [];
  #open: Open[] = [];
  #unsent: Edit[] = [];
  #seq = 0;
  #running: Promise<void> = Promise.resolve();

  private constructor(simulatorUrl: string, client: pg.Client, ignored: ReadonlySet<string>) {
    this.#simulatorUrl = simulatorUrl;
    this.#client = client;
    this.#ignored = ignored;
  }

  /** @param ignored ids of records that are not measured. */
  static async start({ simulatorUrl, databaseUrl, ignored = new Set() }: { simulatorUrl: string; databaseUrl: string; ignored?: ReadonlySet<string> }): Promise<LatencyProbe> {
    const client = new pg.Client({ connectionString: databaseUrl });
    await client.connect();
    const probe = new LatencyProbe(simulatorUrl, client, ignored);
    // What was notified before there was a probe is not measured.
    const before = await probe.#editsAfter(0);
    probe.#seq = before.at(-1)?.seq ?? 0;
    probe.#running = probe.#run();
    probe.#running.catch(() => undefined); // `stop` reports it.
    return probe;
  }

  /** Ends the measurement, after the last edits were given a moment to arrive. */
  async stop(): Promise<Latencies> {
    this.#stopping.abort();
    await this.#running;
    await this.#client.end();
    const sorted = this.#samples.toSorted((a, b) => a - b);
    const at = (share: number): number => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0;
    return { count: sorted.length, p50Ms: Math.round(at(0.5)), p99Ms: Math.round(at(0.99)), maxMs: Math.round(sorted.at(-1) ?? 0), missing: this.#open.length };
  }

  async #run(): Promise<void> {
    while (!this.#stopping.signal.aborted) {
      await this.#round();
      await sleep(POLL_MS);
    }
    for (let round = 0; round < 250 && this.#open.length + this.#unsent.length > 0; round += 1) {
      await this.#round();
      await sleep(POLL_MS);
    }
  }

  async #round(): Promise<void> {
    await this.#collect();
    if (this.#open.length === 0) return;
    const { rows } = await this.#client.query<{ module: string; record_id: string; modified_ms: string }>(
      'select module, record_id, modified_ms from lockstep.record_version where (module, record_id) in (select * from unnest($1::text[], $2::bigint[]))',
      [this.#open.map(({ module }) => module), this.#open.map(({ id }) => id)],
    );
    const now = Date.now();
    const seen = new Map(rows.map((row) => [`${row.module}/${row.record_id}`, Number(row.modified_ms)]));
    this.#open = this.#open.filter(({ module, id, modifiedMs, sentAtMs }) => {
      if ((seen.get(`${module}/${id}`) ?? -1) < modifiedMs) return true;
      this.#samples.push(now - sentAtMs);
      return false;
    });
  }

  async #collect(): Promise<void> {
    const edits = [...this.#unsent, ...(await this.#editsAfter(this.#seq))];
    this.#seq = Math.max(this.#seq, edits.at(-1)?.seq ?? 0);
    const fresh = this.#unsent.length === 0 ? edits : await this.#editsAgain(edits);
    this.#unsent = fresh.filter(({ sentAtMs }) => sentAtMs === null);
    for (const { module, id, modifiedTime, sentAtMs, operation } of fresh) {
      if (sentAtMs !== null && operation !== 'delete' && !this.#ignored.has(id)) this.#open.push({ module, id, modifiedMs: Date.parse(modifiedTime), sentAtMs });
    }
  }

  /** A notification waits some milliseconds before it leaves: what had not left is requested again. */
  #editsAgain(edits: readonly Edit[]): Promise<Edit[]> {
    return this.#editsAfter(Math.min(...edits.map(({ seq }) => seq)) - 1).then((all) => {
      const wanted = new Set(edits.map(({ seq }) => seq));
      return all.filter(({ seq }) => wanted.has(seq));
    });
  }

  #editsAfter(seq: number): Promise<Edit[]> {
    return fetchJson<Edit[]>(`${this.#simulatorUrl}/__simulator/traffic/edits?after=${seq}&limit=100000`);
  }
}
