import { randomInt } from 'node:crypto';

import { copyInto } from '@lockstep/postgres';
import { columnOf, faultOfData, type ModuleProjection, winnersAsCopyText, type WritePlan } from '@lockstep/projection';
import { EventFormatError, type SeenHead } from '@lockstep/record-log';
import type { PoolClient } from 'pg';

import { idHasher, WHOLE } from '../id-hash.ts';
import { type FoldedMessage, type Layer, PartitionFold } from '../partition-fold.ts';
import { quote } from '../quote.ts';

/** Bytes of messages whose contents are held before they are sent, and characters of register lines. */
const CHUNK_BYTES = 4_000_000;

/** A content that stands, and that the table could not hold. */
export type UnfitContent = { readonly id: string; readonly partition: number; readonly offset: number; readonly cause: string };

type Content = { readonly record: Pick<SeenHead, 'id' | 'modifiedMs' | 'fieldsAt'> & { readonly value: Buffer }; readonly deletedMs: null; readonly coverage: string; readonly offset: number };

/**
 * Folds one partition after the other for some of a module's fields, into temporary tables of a connection, in a transaction that is open: `field_content` has contents by their
 * offset, by the types that the columns have or are to get; `field_register` a row for each record that a content speaks of those fields.
 */
export class FieldFold {
  /** Coverages of contents in the same order, the newest first: where the fields of a row come from. */
  readonly layerings: (readonly string[])[] = [];
  readonly #client: PoolClient;
  readonly #projection: ModuleProjection;
  readonly #fields: ReadonlySet<string>;
  readonly #spoken = new Map<string, ReadonlySet<string>>();
  readonly #indexes = new Map<string, number>();
  /** Causes by offset: one that is outdated by a later content does not matter. */
  readonly #unstorable = new Map<number, string>();
  readonly #fold: PartitionFold;
  #waiting: Content[] = [];
  #waitingBytes = 0;

  private constructor(client: PoolClient, projection: ModuleProjection) {
    this.#client = client;
    this.#projection = projection;
    this.#fields = new Set(projection.module.fields.map(({ field }) => field));
    this.#fold = new PartitionFold({
      epsilonMs: projection.epsilonMs,
      keepsDeleted: projection.keepsDeleted,
      hasher: idHasher(randomInt(2 ** 32)),
      // A partition is read once: its records are kept at 120 bytes each, however many they are.
      atMost: Number.POSITIVE_INFINITY,
      covers: (newer, older) => [...this.spokenBy(older)].every((field) => this.spokenBy(newer).has(field)),
      onCoverage: (coverage, fields) => this.#spoken.set(coverage, new Set(fields.filter((field) => this.#fields.has(field)))),
      onContent: (_, __, head, message) => this.#keep(head, message),
    }, WHOLE);
  }

  /** @param projection of the module with these fields alone, and its table as it is or is to be. */
  static async create(client: PoolClient, projection: ModuleProjection): Promise<FieldFold> {
    const { module: { keyColumn, modifiedTimeColumn, onDelete, fields } } = projection;
    const columns = [keyColumn, modifiedTimeColumn, ...(onDelete.action === 'mark' ? [onDelete.deletedColumn] : []), ...fields.map(({ column }) => column)];
    await client.query(`
      drop table if exists pg_temp.field_content, pg_temp.field_register;
      create temp table field_content (" offset" bigint not null, ${columns.map((column) => `${quote(column)} ${columnOf(projection.table, column).shown}`).join(', ')});
      create temp table field_register (record_id bigint not null, log_offset bigint not null, layering integer not null, layers bigint[] not null)`);
    return new FieldFold(client, projection);
  }

  /** Empties the tables for another partition. */
  async begin(): Promise<void> {
    await this.#client.query('truncate pg_temp.field_content, pg_temp.field_register');
    this.#fold.begin(WHOLE);
    this.#unstorable.clear();
    [this.#waiting, this.#waitingBytes] = [[], 0];
  }

  /** Takes messages of the partition in hand, in their order. What the projector parks for good, because it is no event, is no part of the fold. */
  async take(messages: readonly FoldedMessage[]): Promise<void> {
    for (const { offset, value } of messages) {
      try {
        this.#fold.observe({ offset, value });
      } catch (error) {
        if (!(error instanceof EventFormatError) || error.code === 'EVENT_VERSION_UNKNOWN') throw error;
      }
    }
    if (this.#waitingBytes >= CHUNK_BYTES) await this.#flush();
  }

  /** Ends the partition in hand. @returns contents that stand and do not fit; their records are in no table. */
  async end(partition: number): Promise<UnfitContent[]> {
    await this.#flush();
    const unfit: UnfitContent[] = [];
    let text: string[] = [];
    let length = 0;
    const send = async (): Promise<void> => {
      await copyInto(this.#client, 'pg_temp.field_register', Buffer.from(text.join(''), 'latin1'));
      [text, length] = [[], 0];
    };
    const { records } = this.#fold;
    for (let slot = 0; slot < records.size; slot += 1) {
      const id = records.idOf(slot);
      const layers = records.layers(slot).filter(({ coverage }) => this.spokenBy(coverage).size > 0);
      const wrong = layers.find(({ offset }) => this.#unstorable.has(offset));
      if (wrong !== undefined) unfit.push({ id, partition, offset: wrong.offset, cause: this.#unstorable.get(wrong.offset) as string });
      if (wrong !== undefined || layers.length === 0) continue;
      const line = `${id}\t${records.offsets[slot]}\t${this.#layeringOf(layers)}\t{${layers.map(({ offset }) => offset).join(',')}}\n`;
      text.push(line);
      length += line.length;
      if (length >= CHUNK_BYTES) await send();
    }
    await send();
    records.clear();
    await this.#client.query('analyze pg_temp.field_content; analyze pg_temp.field_register');
    return unfit;
  }

  /** The fields that contents of a coverage speak of, of those that are folded. */
  spokenBy(coverage: string): ReadonlySet<string> {
    return this.#spoken.get(coverage) ?? nothing;
  }

  #keep({ id, modifiedMs, fieldsAt, coverage }: SeenHead, { offset, value }: FoldedMessage): void {
    if (value === null || this.spokenBy(coverage).size === 0) return;
    this.#waiting.push({ record: { id, modifiedMs, fieldsAt, value }, deletedMs: null, coverage, offset });
    this.#waitingBytes += value.length;
  }

  async #flush(): Promise<void> {
    const contents = this.#waiting;
    [this.#waiting, this.#waitingBytes] = [[], 0];
    for (const [coverage, group] of Map.groupBy(contents, (content) => content.coverage)) await this.#send(await this.#projection.planFor(this.#client, coverage), group);
  }

  /** Sends contents of one coverage; where one of them does not fit, the others without it. */
  async #send(plan: WritePlan, contents: readonly Content[]): Promise<void> {
    try {
      const text = winnersAsCopyText(contents, plan, { before: ({ offset }) => `${offset}\t` });
      await this.#copy(`pg_temp.field_content (" offset", ${plan.columns.map(quote).join(', ')})`, text);
    } catch (error) {
      const fault = faultOfData(error);
      if (fault === null) throw error;
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

  async #copy(target: string, text: Buffer): Promise<void> {
    await this.#client.query('savepoint contents');
    try {
      await copyInto(this.#client, target, text);
    } catch (error) {
      await this.#client.query('rollback to savepoint contents');
      throw error;
    } finally {
      await this.#client.query('release savepoint contents');
    }
  }

  #layeringOf(layers: readonly Layer[]): number {
    const layering = layers.map(({ coverage }) => coverage);
    const name = layering.join(' ');
    const known = this.#indexes.get(name) ?? this.layerings.push(layering) - 1;
    this.#indexes.set(name, known);
    return known;
  }
}

const nothing: ReadonlySet<string> = new Set();
