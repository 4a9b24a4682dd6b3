import { copyInto } from '@lockstep/postgres';
import { columnOf, deletedTime, faultOfData, type ModuleProjection, winnersAsCopyText, type WritePlan } from '@lockstep/projection';
import type { SeenHead } from '@lockstep/record-log';
import type { PoolClient } from 'pg';

import type { Difference } from './differences.ts';
import type { FoldedMessage, Layer } from './partition-fold.ts';
import { quote } from './quote.ts';
import type { RecordTable } from './record-table.ts';
import { MOST_ENTRY_BYTES, standingOf, writeEntry } from './standing.ts';

/** Bytes of contents that are held before they are sent. */
const CHUNK_BYTES = 4_000_000;

/** Contents of the same coverages, in the same order: how a row is made of several. The newest comes first. */
export type Layering = readonly string[];

type UnfitContent = Extract<Difference, { kind: 'content does not fit' }>;
type Content = { readonly record: Pick<SeenHead, 'id' | 'modifiedMs' | 'fieldsAt'> & { readonly value: Buffer }; readonly deletedMs: null; readonly coverage: string; readonly partition: number; readonly offset: number };

/**
 * What register and table ought to hold by the log, in temporary tables of one connection: `shadow_content` has contents by their place in the log, by the
 * table's own types; `shadow_register` a row for each record. They go with the transaction, if that is rolled back, or with the connection.
 */
export class Shadow {
  readonly layerings: Layering[] = [];
  /** Contents that rows are made of, and that the table cannot hold. */
  readonly unfit: UnfitContent[] = [];
  /** Causes by offset, of the partition in hand: one that is outdated by a later content does not matter. */
  readonly #unstorable = new Map<number, string>();
  readonly #client: PoolClient;
  readonly #projection: ModuleProjection;
  readonly #indexes = new Map<string, number>();
  readonly #entry = Buffer.allocUnsafeSlow(MOST_ENTRY_BYTES);
  #waiting: Content[] = [];
  #waitingBytes = 0;

  private constructor(client: PoolClient, projection: ModuleProjection) {
    this.#client = client;
    this.#projection = projection;
  }

  /** Makes the tables, in a transaction that is open. */
  static async create(client: PoolClient, projection: ModuleProjection): Promise<Shadow> {
    const { table: { schema, name }, keyColumn } = projection.module;
    const columns = columnsWritten(projection).map(quote).join(', ');
    await client.query(`
      create temp table shadow_content as select null::integer as " partition", null::bigint as " offset", ${columns} from "${schema}"."${name}" with no data;
      create temp table shadow_register (
        record_id bigint not null, modified_ms bigint, version_ms bigint, observed_ms bigint, content_hash uuid, deleted_ms bigint, listed_ms bigint, log_partition integer not null, log_offset bigint not null,
        key ${columnOf(projection.table, keyColumn).type} not null, has_row boolean not null, deleted_at text, layering integer, layers bigint[]
      )`);
    return new Shadow(client, projection);
  }

  /** Takes a content that has won up to here. */
  async add(partition: number, head: SeenHead, { offset, value }: FoldedMessage): Promise<void> {
    const { id, modifiedMs, fieldsAt, coverage } = head;
    this.#waiting.push({ record: { id, modifiedMs, fieldsAt, value: value as Buffer }, deletedMs: null, coverage, partition, offset });
    this.#waitingBytes += (value as Buffer).length;
    if (this.#waitingBytes >= CHUNK_BYTES) await this.flush();
  }

  /** Sends what is held. */
  async flush(): Promise<void> {
    const contents = this.#waiting;
    [this.#waiting, this.#waitingBytes] = [[], 0];
    for (const [coverage, group] of Map.groupBy(contents, (content) => content.coverage)) {
      const plan = await this.#planFor(coverage, group);
      if (plan !== null) await this.#send(plan, group);
    }
  }

  /** The plan for a coverage; null for one that was never declared: its contents matter only where one of them stands. */
  async #planFor(coverage: string, contents: readonly Content[]): Promise<WritePlan | null> {
    try {
      return await this.#projection.planFor(this.#client, coverage);
    } catch (error) {
      const fault = faultOfData(error);
      if (fault === null) throw error;
      for (const { offset } of contents) this.#unstorable.set(offset, fault.cause);
      return null;
    }
  }

  /** Sends contents of one coverage; where one of them cannot be held by the table, the others without it. */
  async #send(plan: WritePlan, contents: readonly Content[]): Promise<void> {
    await this.#client.query('savepoint contents');
    try {
      const text = winnersAsCopyText(contents, plan, { before: ({ partition, offset }) => `${partition}\t${offset}\t` });
      await copyInto(this.#client, `shadow_content (" partition", " offset", ${plan.columns.map(quote).join(', ')})`, text);
      await this.#client.query('release savepoint contents');
    } catch (error) {
      const fault = faultOfData(error);
      if (fault === null) throw error;
      await this.#client.query('rollback to savepoint contents; release savepoint contents');
      const [only] = contents;
      if (contents.length === 1 && only !== undefined) {
        this.#unstorable.set(only.offset, fault.cause);
        return;
      }
      const half = contents.length >> 1;
      await this.#send(plan, contents.slice(0, half));
      await this.#send(plan, contents.slice(half));
    }
  }

  /** Takes what a whole partition amounts to. */
  async addPartition(partition: number, records: RecordTable): Promise<void> {
    await this.flush();
    let text: string[] = [];
    let length = 0;
    const send = async (): Promise<void> => {
      await copyInto(this.#client, 'shadow_register', Buffer.from(text.join(''), 'latin1'));
      [text, length] = [[], 0];
    };
    for (let slot = 0; slot < records.size; slot += 1) {
      const line = this.#lineOf(partition, records, slot);
      text.push(line);
      length += line.length;
      if (length >= CHUNK_BYTES) await send();
    }
    await send();
    this.#unstorable.clear();
  }

  #lineOf(partition: number, records: RecordTable, slot: number): string {
    const id = records.idOf(slot);
    const { hasRow, markMs } = standingOf(records, slot, this.#projection);
    const layers = hasRow ? records.layers(slot) : [];
    const cells = [
      this.#entry.toString('latin1', 0, writeEntry(partition, records, slot, this.#entry, 0)),
      id,
      hasRow ? 't' : 'f',
      markMs === null ? '\\N' : deletedTime(markMs),
      ...(hasRow && this.#fits(partition, id, layers) ? [this.#layeringOf(layers), `{${layers.map((layer) => layer.offset).join(',')}}`] : ['\\N', '\\N']),
    ];
    return `${cells.join('\t')}\n`;
  }

  #fits(partition: number, id: string, layers: readonly Layer[]): boolean {
    const unstorable = layers.find(({ offset }) => this.#unstorable.has(offset));
    if (unstorable === undefined) return true;
    this.unfit.push({ kind: 'content does not fit', id, partition, offset: unstorable.offset, cause: this.#unstorable.get(unstorable.offset) as string });
    return false;
  }

  #layeringOf(layers: readonly Layer[]): number {
    const layering = layers.map(({ coverage }) => coverage);
    const name = layering.join(' ');
    const known = this.#indexes.get(name);
    if (known !== undefined) return known;
    this.layerings.push(layering);
    this.#indexes.set(name, this.layerings.length - 1);
    return this.layerings.length - 1;
  }
}

/** The columns that the projector writes: key, modified time, mark of deletion, and one for each field. */
export function columnsWritten({ module: { keyColumn, modifiedTimeColumn, onDelete, fields } }: ModuleProjection): string[] {
  return [keyColumn, modifiedTimeColumn, ...(onDelete.action === 'mark' ? [onDelete.deletedColumn] : []), ...fields.map(({ column }) => column)];
}
