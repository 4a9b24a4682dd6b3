import { setTimeout as sleep } from 'node:timers/promises';

import { modules } from '@lockstep/modules';
import pg from 'pg';

import { fetchJson } from './http.ts';

/** A change that freshness claimed and the table did not show. */
export type FalseClaim = { readonly module: string; readonly id: string; readonly claimedUpTo: string; readonly changedAt: string; readonly operation: string; readonly row: string };

/** What came of the watching; of the false claims the first ten. */
export type Watched = {
  /** How often freshness was read; and how often the database did not answer. */
  readonly samples: number;
  readonly unanswered: number;
  /** The most changes that a claim has covered at once: zero would prove nothing. */
  readonly covered: number;
  readonly falseClaims: readonly FalseClaim[];
};

type Entry = { readonly seq: number; readonly module: string; readonly id: string; readonly operation: string; readonly modifiedTime: string };
type Changes = { readonly editedMs: number[]; deletedMs: number | null };
type Row = { readonly id: string; readonly modified_ms: string; readonly is_gone: boolean };

const EVERY_MS = 1_000;
const EXAMPLES = 10;

/**
 * Reads `lockstep.freshness` every second, in one snapshot with the tables, and holds it to the CRM's own log of changes: whatever
 * changed before `seen_up_to` has to stand there. What freshness does not promise is left out: a restored record keeps its old
 * time, and an edit of a record that was deleted soon after may never have been seen.
 */
export class FreshnessWatch {
  readonly #simulatorUrl: string;
  readonly #databaseUrl: string;
  readonly #stopping = new AbortController();
  readonly #changes = new Map<string, Map<string, Changes>>(modules.map(({ apiName }) => [apiName, new Map()]));
  readonly #restored = new Set<string>();
  readonly #found = { samples: 0, unanswered: 0, covered: 0, falseClaims: [] as FalseClaim[] };
  readonly #running: Promise<void>;
  #seq = 0;

  constructor({ simulatorUrl, databaseUrl }: { simulatorUrl: string; databaseUrl: string }) {
    this.#simulatorUrl = simulatorUrl;
    this.#databaseUrl = databaseUrl;
    this.#running = this.#run();
  }

  /** To be called before a record is restored: no claim is held to it from then on. */
  willRestore(id: string): void {
    this.#restored.add(id);
  }

  /** Ends the watching after a last sample; may be repeated. */
  async stop(): Promise<Watched> {
    const isFirst = !this.#stopping.signal.aborted;
    this.#stopping.abort();
    await this.#running;
    if (isFirst) await this.#sample();
    return this.#found;
  }

  async #run(): Promise<void> {
    while (!this.#stopping.signal.aborted) {
      await this.#sample();
      await sleep(EVERY_MS, undefined, { signal: this.#stopping.signal }).catch(() => undefined);
    }
  }

  async #sample(): Promise<void> {
    const client = new pg.Client({ connectionString: this.#databaseUrl, connectionTimeoutMillis: 2_000, query_timeout: 10_000 });
    client.on('error', () => undefined); // A server that goes away shows as the next query's failure.
    try {
      await this.#follow();
      await client.connect();
      await client.query('begin isolation level repeatable read read only');
      const covered = await this.#check(client);
      this.#found.samples += 1;
      this.#found.covered = Math.max(this.#found.covered, covered);
    } catch {
      this.#found.unanswered += 1;
    } finally {
      await client.end().catch(() => undefined);
    }
  }

  /** Reads the log of changes on. It is asked before the tables are: then it has every change that a claim can cover. */
  async #follow(): Promise<void> {
    for (const { seq, module, id, operation, modifiedTime } of await fetchJson<Entry[]>(`${this.#simulatorUrl}/__simulator/traffic/edits?after=${this.#seq}&limit=100000`)) {
      const changes = this.#changes.get(module)?.get(id) ?? { editedMs: [], deletedMs: null };
      if (operation === 'delete') changes.deletedMs = Date.parse(modifiedTime);
      else changes.editedMs.push(Date.parse(modifiedTime));
      this.#changes.get(module)?.set(id, changes);
      this.#seq = seq;
    }
  }

  /** @returns how many changes the claims cover. */
  async #check(client: pg.Client): Promise<number> {
    const { rows: claims } = await client.query<{ module: string; seen_ms: string }>('select module, extract(epoch from seen_up_to) * 1000 as seen_ms from lockstep.freshness where seen_up_to is not null');
    let covered = 0;
    for (const { module, seen_ms } of claims) {
      const claimed = [...(this.#changes.get(module) ?? [])].flatMap(([id, changes]) => claimedOf(id, changes, Number(seen_ms)));
      const rows = await rowsOf(client, module, claimed.map(({ id }) => id));
      covered += claimed.length;
      for (const claim of claimed) {
        const row = rows.get(claim.id);
        if (this.#restored.has(claim.id) || claim.stands(row)) continue;
        this.#report({ module, id: claim.id, claimedUpTo: instant(Number(seen_ms)), changedAt: instant(claim.atMs), operation: claim.operation, row: row === undefined ? 'none' : `${instant(Number(row.modified_ms))}${row.is_gone ? ', deleted' : ''}` });
      }
    }
    return covered;
  }

  /** Each change is reported once, at its first false claim. */
  #report(claim: FalseClaim): void {
    const { falseClaims } = this.#found;
    const isKnown = falseClaims.some(({ module, id, changedAt }) => module === claim.module && id === claim.id && changedAt === claim.changedAt);
    if (!isKnown && falseClaims.length < EXAMPLES) falseClaims.push(claim);
  }
}

type Claimed = { readonly id: string; readonly atMs: number; readonly operation: 'edit' | 'delete'; readonly stands: (row: Row | undefined) => boolean };

/** What a claim says of one record: its latest change before then, if any. */
function claimedOf(id: string, { editedMs, deletedMs }: Changes, seenMs: number): Claimed[] {
  if (deletedMs !== null) return deletedMs < seenMs ? [{ id, atMs: deletedMs, operation: 'delete', stands: (row) => row?.is_gone !== false }] : [];
  const atMs = Math.max(...editedMs.filter((ms) => ms < seenMs));
  return Number.isFinite(atMs) ? [{ id, atMs, operation: 'edit', stands: (row) => row !== undefined && Number(row.modified_ms) >= atMs }] : [];
}

async function rowsOf(client: pg.Client, name: string, ids: readonly string[]): Promise<Map<string, Row>> {
  const module = modules.find(({ apiName }) => apiName === name);
  if (module === undefined || ids.length === 0) return new Map();
  const { table, onDelete } = module;
  const isGone = onDelete.action === 'mark' ? `"${onDelete.deletedColumn}" is not null` : 'false';
  const { rows } = await client.query<Row>(`select id::text as id, extract(epoch from modified_time) * 1000 as modified_ms, ${isGone} as is_gone from "${table.schema}"."${table.name}" where id = any($1::bigint[])`, [ids]);
  return new Map(rows.map((row) => [row.id, row]));
}

const instant = (ms: number): string => new Date(ms).toISOString();
