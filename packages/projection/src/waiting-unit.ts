import type { PoolClient } from 'pg';

import { mergeRegister, writeDead, writeWinners } from './apply-batch.ts';
import { decide, type Decision, wonOf } from './decide.ts';
import { type Fault, pointsElsewhere } from './fault-of-data.ts';
import { faultOfTry } from './held-up.ts';
import { foldBatch, type LogMessage } from './fold-batch.ts';
import type { ModuleProjection } from './module-projection.ts';
import { noteFieldsLeft } from './parked-rest.ts';
import { wantRestOfRestored } from './restored-in-part.ts';
import { writtenRows } from './written-elsewhere.ts';
import { holderOf, type TableConstraints, type UniqueIndex } from './unique-indexes.ts';

/** Messages of one record that are applied together. */
export type Waiting = { readonly recordId: string; readonly messages: readonly LogMessage[] };

export type WaitingContext = {
  readonly client: PoolClient;
  readonly projection: ModuleProjection;
  readonly constraints: TableConstraints;
  /** Receives the records that would have to move as well, and are not among those that are tried; `by` are the records that need them. */
  readonly needed: { readonly other: string; readonly by: readonly string[] }[];
};

/** Why records cannot be applied, whatever becomes of each other, for as long as nothing else is applied. */
export type Stuck = Map<string, Fault>;

type Winner = Decision['winners'][number];

/** A record on the way from the first one of a unit to the one in hand: each needs the next one to move. */
type Link = { readonly recordId: string; conflict?: Fault; index?: UniqueIndex };

/** A record that waits, and the others that have to move with it; see apply-waiting.ts. The caller keeps a savepoint. */
export class WaitingUnit {
  /** What the first row conflicted with, before others were asked to move. */
  firstConflict: Fault | undefined;
  /** Whether it failed for a reason that has nothing to do with the order of its rows. */
  isStuck = false;
  /** The records that were applied. */
  readonly written = new Set<string>();
  readonly #context: WaitingContext;
  readonly #pending: ReadonlyMap<string, Waiting>;
  readonly #stuck: Stuck;
  readonly #order: 'holders first' | 'holders last';
  readonly #decisions = new Map<string, Decision>();
  readonly #begun = new Set<string>();
  readonly #due: { readonly waiting: Waiting; readonly path: readonly Link[] }[] = [];
  readonly #released = new Set<string>();
  /** The conflicts for which a value was emptied, and what had been written elsewhere before: where triggers may see it. */
  readonly #emptied: { readonly conflict: unknown; readonly elsewhere: number }[] = [];

  constructor(context: WaitingContext, pending: ReadonlyMap<string, Waiting>, stuck: Stuck, order: 'holders first' | 'holders last') {
    this.#context = context;
    this.#pending = pending;
    this.#stuck = stuck;
    this.#order = order;
  }

  /** Whether others were asked to move. */
  get hasMoved(): boolean {
    return this.#begun.size > 1;
  }

  async apply(root: Waiting): Promise<void> {
    const { client } = this.#context;
    this.#due.push({ waiting: root, path: [] });
    for (let next = this.#due.shift(); next !== undefined; next = this.#due.shift()) {
      const path = [...next.path, { recordId: next.waiting.recordId }];
      await this.#write(next.waiting, next.path);
      const error = await this.#attempt(() => client.query('set constraints all immediate; set constraints all deferred'));
      if (error === undefined) continue;
      const conflict = faultOfTry(error);
      this.firstConflict ??= conflict;
      const isBlocked = await this.#addPartners(path.map((link, i) => (i === path.length - 1 ? { ...link, conflict } : link)));
      if (this.#due.length > 0 && !isBlocked) continue;
      if (isBlocked) this.#noteStuck(path, conflict);
      throw error;
    }
    await this.#checkUnseen();
  }

  /** @throws the conflict for which a value was emptied, where triggers have written other rows since: others would keep what they made of it. */
  async #checkUnseen(): Promise<void> {
    const { client, projection } = this.#context;
    if (this.#emptied.length === 0) return;
    const { elsewhere } = await writtenRows(client, projection);
    const seen = this.#emptied.find((emptied) => emptied.elsewhere !== elsewhere);
    if (seen === undefined) return;
    const { code, cause } = faultOfTry(seen.conflict);
    this.firstConflict = { code, cause: `${cause}; to make room a value would have to be empty for a moment, and triggers of the table would write to other rows then` };
    throw seen.conflict;
  }

  async #write(waiting: Waiting, before: readonly Link[]): Promise<void> {
    const { recordId } = waiting;
    if (this.#begun.has(recordId)) return;
    this.#begun.add(recordId);
    const { client, projection } = this.#context;
    const path: Link[] = [...before, { recordId }];
    const { winners: [winner], dead } = await this.#decisionOf(waiting);
    const error = dead.length === 0 ? undefined : await this.#attempt(() => writeDead(client, projection, dead));
    if (error !== undefined) throw this.#failed(path, error);
    if (winner !== undefined) await this.#writeWinner(winner, path);
    this.written.add(recordId);
  }

  async #writeWinner(winner: Winner, path: readonly Link[]): Promise<void> {
    const { client, projection } = this.#context;
    for (;;) {
      const error = await this.#attempt(() => writeWinners(client, projection, { winners: [winner], allFresh: false }));
      if (error === undefined) return;
      this.firstConflict ??= faultOfTry(error);
      if (!(await this.#makeRoom(winner, path, error))) throw this.#failed(path, error);
    }
  }

  /** The register's word on a record, merged once a unit. */
  async #decisionOf({ recordId, messages }: Waiting): Promise<Decision> {
    const { client, projection } = this.#context;
    const known = this.#decisions.get(recordId);
    if (known !== undefined) return known;
    const merged = await mergeRegister(client, projection, foldBatch(messages));
    const won = wonOf(merged);
    await noteFieldsLeft(client, projection, won);
    await wantRestOfRestored(client, projection, won);
    const decision = decide(merged, projection);
    this.#decisions.set(recordId, decision);
    return decision;
  }

  /** Lets the row that holds the value give it up, if it is to be written here. @returns false when it stays where it is. */
  async #makeRoom(winner: Winner, path: readonly Link[], error: unknown): Promise<boolean> {
    const { client, projection, constraints } = this.#context;
    const index = constraints.uniqueIndexes.get(violatedIndex(error, projection) ?? '');
    if (index === undefined) return false;
    const holder = this.#find(await holderOf(client, projection, winner, index), path);
    if (holder === undefined) return false;
    const isBegun = this.#begun.has(holder.recordId);
    if (!isBegun && !projection.keepsDeleted && (await this.#removeOrEmpty(holder, index, error))) return true;
    if (this.#stuck.has(holder.recordId)) return false;
    Object.assign(path.at(-1) as Link, { conflict: faultOfTry(error), index });
    if (this.written.has(holder.recordId)) return false;
    const { winners: [next] } = await this.#decisionOf(holder);
    // One whose row is not written at all is never emptied.
    if (!isBegun && (this.#order === 'holders first' || next === undefined)) {
      await this.#write(holder, path);
      return true;
    }
    if (next === undefined || !(await this.#release(next.record.id, next.record.coverage, index, error))) return false;
    if (!isBegun) this.#due.push({ waiting: holder, path });
    return true;
  }

  /**
   * A row that is to go gives up its value: it goes, or, while rows of other tables point to it, is emptied of the value. Its removal waits on then, and the
   * register does not know of it.
   * @returns false where the record is not to be removed, or nothing may be emptied.
   */
  async #removeOrEmpty(holder: Waiting, index: UniqueIndex, conflict: unknown): Promise<boolean> {
    const { client, projection } = this.#context;
    await client.query('savepoint removal');
    const { dead } = await this.#decisionOf(holder);
    if (dead.length === 0) {
      await client.query('release savepoint removal');
      return false;
    }
    const error = await this.#attempt(async () => {
      await writeDead(client, projection, dead);
      await client.query('set constraints all immediate; set constraints all deferred');
    });
    if (error === undefined) {
      this.#begun.add(holder.recordId);
      this.written.add(holder.recordId);
      await client.query('release savepoint removal');
      return true;
    }
    await client.query('rollback to savepoint removal; release savepoint removal');
    this.#decisions.delete(holder.recordId);
    return pointsElsewhere(faultOfTry(error).code) && (await this.#release(holder.recordId, projection.own.id, index, conflict));
  }

  /** @returns the record, where it waits and is among those that are tried. */
  #find(recordId: string | null, path: readonly Link[]): Waiting | undefined {
    const found = this.#pending.get(recordId ?? '');
    if (found === undefined && recordId !== null) this.#context.needed.push({ other: recordId, by: path.map((link) => link.recordId) });
    return found;
  }

  /** Notes who cannot be applied by this failure, unless another order of the rows, or another one that waits, might help. */
  #failed(path: readonly Link[], error: unknown): unknown {
    const { projection, constraints } = this.#context;
    const isAmongThemselves = violatedIndex(error, projection) !== null && path.at(-1)?.index !== undefined && path.some(({ index }) => (index?.releasable.length ?? 0) > 0);
    const lacksOneOfThem = error instanceof Error && 'constraint' in error && constraints.selfReferences.has(String(error.constraint));
    if (!isAmongThemselves && !lacksOneOfThem) this.#noteStuck(path, faultOfTry(error));
    return error;
  }

  #noteStuck(path: readonly Link[], fault: Fault): void {
    if (this.#order === 'holders last') return;
    this.isStuck = true;
    for (const { recordId, conflict } of path) this.#stuck.set(recordId, conflict ?? fault);
  }

  /** Empties a column of a row that is still to be written, or to be removed, or several. @returns false when there is none that may be. */
  async #release(id: string, coverage: string, { releasable }: UniqueIndex, conflict: unknown): Promise<boolean> {
    const { client, projection } = this.#context;
    const before = projection.table.triggers.length === 0 ? undefined : await writtenRows(client, projection);
    const { table, columns } = await projection.planFor(client, coverage);
    const mapped = releasable.filter((column) => columns.includes(column));
    // One of them is enough, unless they may be null together only: a check, or a foreign key MATCH FULL.
    for (const emptied of mapped.length > 1 ? [...mapped.map((column) => [column]), mapped] : [mapped]) {
      const release = `${id}/${emptied.join('/')}`;
      if (emptied.length === 0 || this.#released.has(release)) continue;
      this.#released.add(release);
      const error = await this.#attempt(() => client.query(`update ${table} set ${emptied.map((column) => `"${column}" = null`).join(', ')} where "${projection.module.keyColumn}" = $1`, [id]));
      if (error !== undefined) continue;
      if (before !== undefined) this.#emptied.push({ conflict, elsewhere: before.own + 1 === (await writtenRows(client, projection)).own ? before.elsewhere : Number.NaN });
      return true;
    }
    return false;
  }

  /**
   * Under deferrable constraints nothing needs to be emptied: rows that are in each other's way are written, and checked together.
   * @returns true when one of them stays where it is.
   */
  async #addPartners(path: readonly Link[]): Promise<boolean> {
    const { client, constraints } = this.#context;
    let isBlocked = false;
    for (const query of constraints.partnersOf) {
      const { rows } = await client.query<{ id: string }>(query, [path.at(-1)?.recordId]);
      for (const { id } of rows) {
        const waiting = this.#find(id, path);
        if (waiting === undefined || this.#stuck.has(id)) isBlocked = true;
        else if (!this.#begun.has(id)) this.#due.push({ waiting, path });
      }
    }
    return isBlocked;
  }

  /** Does a part, or undoes it. @returns what went wrong, where it is the row's fault. */
  async #attempt(part: () => Promise<unknown>): Promise<unknown> {
    const { client } = this.#context;
    await client.query('savepoint part');
    try {
      await part();
      await client.query('release savepoint part');
      return undefined;
    } catch (error) {
      faultOfTry(error);
      await client.query('rollback to savepoint part; release savepoint part');
      return error;
    }
  }
}

/** The unique index that an error names; null for any other error, and for other tables. */
function violatedIndex(error: unknown, { module: { table } }: ModuleProjection): string | null {
  if (!(error instanceof Error) || !('code' in error) || error.code !== '23505') return null;
  const { schema, constraint } = error as Error & { schema?: string; constraint?: string };
  return schema === table.schema ? (constraint ?? null) : null;
}
