import { setTimeout as sleep } from 'node:timers/promises';

import { type ModuleDefinition, modules } from '@lockstep/modules';
import pg from 'pg';

import { asTexts, deletedColumnOf, mappedColumns, plainSession, quoted, tableOf, type Values } from '../comparison/mapped-columns.ts';
import { fetchJson } from '../http.ts';
import { History, type Version } from './history.ts';
import { type Claim, judgeClaims, judgeRows } from './judge.ts';
import { EVERY_MS, Tally, type Watched } from './watched.ts';

const PAGE = 10_000;

/**
 * Reads `lockstep.freshness` every second, in one snapshot with the tables, and holds it to the CRM's own history: whatever changed before `seen_up_to` has
 * to stand there with all of its values, no time goes back or lies ahead, and counts agree with what they count. A reading that fails is counted by its cause.
 */
export class FreshnessWatch {
  readonly #simulatorUrl: string;
  readonly #databaseUrl: string;
  readonly #stopping = new AbortController();
  readonly #history = new History();
  readonly #tally = new Tally(() => performance.now());
  readonly #running: Promise<void>;
  #claims: ReadonlyMap<string, Claim> = new Map();

  constructor({ simulatorUrl, databaseUrl }: { simulatorUrl: string; databaseUrl: string }) {
    this.#simulatorUrl = simulatorUrl;
    this.#databaseUrl = databaseUrl;
    this.#running = this.#run();
  }

  /** How often freshness was read. */
  get samples(): number {
    return this.#tally.watched([]).samples;
  }

  /** To be called before the database is killed: failures from then on are explained. @returns what to call once it answers again. */
  databaseGoesDown(): () => void {
    return this.#tally.down();
  }

  /** Ends the watching after a last reading; may be repeated. */
  async stop(): Promise<Watched> {
    const isFirst = !this.#stopping.signal.aborted;
    this.#stopping.abort();
    await this.#running;
    if (isFirst) await this.#sample();
    return this.#tally.watched(modules.map(({ apiName }) => apiName).filter((module) => (this.#claims.get(module)?.seenMs ?? null) === null));
  }

  async #run(): Promise<void> {
    while (!this.#stopping.signal.aborted) {
      await this.#sample();
      await sleep(EVERY_MS, undefined, { signal: this.#stopping.signal }).catch(() => undefined);
    }
  }

  async #sample(): Promise<void> {
    const beganMs = performance.now();
    const client = new pg.Client({ connectionString: this.#databaseUrl, connectionTimeoutMillis: 10_000, query_timeout: 30_000 });
    client.on('error', () => undefined); // A server that goes away shows as the next query's failure.
    try {
      await this.#follow();
      await client.connect();
      await client.query(plainSession);
      await client.query('begin isolation level repeatable read read only');
      const claims = await claimsOf(client);
      const rows = new Map<string, ReadonlyMap<string, Values>>();
      for (const module of modules) rows.set(module.apiName, await rowsOf(client, module, [...this.#history.of(module.apiName).keys()]));
      // A row may show what came after the claim; again, then, for what it may show.
      await this.#follow();
      const { nowMs } = await fetchJson<{ nowMs: number }>(`${this.#simulatorUrl}/__simulator/clock`);
      this.#judge(claims, rows, nowMs);
    } catch (error) {
      this.#tally.failed(error, beganMs);
    } finally {
      await client.end().catch(() => undefined);
    }
  }

  async #follow(): Promise<void> {
    for (let versions: Version[] = []; ; ) {
      versions = await fetchJson<Version[]>(`${this.#simulatorUrl}/__simulator/history?after=${this.#history.seq}&limit=${PAGE}`);
      this.#history.add(versions);
      if (versions.length < PAGE) return;
    }
  }

  #judge(claims: readonly Claim[], rows: ReadonlyMap<string, ReadonlyMap<string, Values>>, crmNowMs: number): void {
    const falseClaims = judgeClaims(this.#claims, claims, crmNowMs);
    let covered = 0;
    for (const module of modules) {
      const [seenMs, read] = [claims.find((claim) => claim.module === module.apiName)?.seenMs ?? null, rows.get(module.apiName)];
      if (seenMs === null || read === undefined) continue;
      const judged = judgeRows({ module, versions: this.#history.of(module.apiName), rows: read, seenMs });
      covered += judged.covered;
      falseClaims.push(...judged.falseClaims);
    }
    this.#claims = new Map(claims.map((claim) => [claim.module, claim]));
    this.#tally.taken(covered, falseClaims);
  }
}

type ClaimRow = { [K in keyof Claim]: Claim[K] extends boolean | string ? Claim[K] : string | null };

async function claimsOf(client: pg.Client): Promise<Claim[]> {
  const { rows } = await client.query<ClaimRow>(`
    select module, extract(epoch from seen_up_to) * 1000 as "seenMs", extract(epoch from settled_up_to) * 1000 as "settledMs", extract(epoch from refreshed_at) * 1000 as "refreshedMs", parked, hidden, unsettled,
      exists (select from lockstep.parked p where p.module = f.module and resolved_at is null) as "hasParked",
      exists (select from lockstep.record_version r where r.module = f.module and hidden_since is not null) as "hasHidden"
    from lockstep.freshness f`);
  const ms = (text: string | null): number | null => (text === null ? null : Number(text));
  return rows.map(({ seenMs, settledMs, refreshedMs, parked, hidden, unsettled, ...rest }) => ({ ...rest, seenMs: ms(seenMs), settledMs: ms(settledMs), refreshedMs: ms(refreshedMs), parked: Number(parked), hidden: Number(hidden), unsettled: Number(unsettled) }));
}

async function rowsOf(client: pg.Client, module: ModuleDefinition, ids: readonly string[]): Promise<ReadonlyMap<string, Values>> {
  if (ids.length === 0) return new Map();
  const deletedColumn = deletedColumnOf(module);
  const columns = [...mappedColumns(module).map(({ column }) => column), ...(deletedColumn === null ? [] : [deletedColumn])];
  const { rows } = await client.query<Values>(`select ${quoted(module.keyColumn)}::text as " key", ${asTexts(columns)} from ${tableOf(module)} where ${quoted(module.keyColumn)} = any($1::bigint[])`, [ids]);
  return new Map(rows.map((row) => [row[' key'] as string, row]));
}
