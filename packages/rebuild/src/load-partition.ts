import { type KafkaClient, readLog } from '@lockstep/kafka';
import { copyInto } from '@lockstep/postgres';
import { faultOfData, type ModuleProjection, winnersAsCopyText, type WritePlan } from '@lockstep/projection';
import { type CoverageDeclared, readRepairedHead, readSeenHead, type SeenHead } from '@lockstep/record-log';
import type { PoolClient } from 'pg';

import { Coverages } from './coverages.ts';
import { foldLog } from './fold-log.ts';
import type { LogDigests } from './log-digests.ts';
import { Lines } from './lines.ts';
import type { FoldedMessage } from './partition-fold.ts';
import { quote } from './quote.ts';
import { LEFT, type RecordTable } from './record-table.ts';
import { ENTRY_COLUMNS, MOST_ENTRY_BYTES, standingOf, writeEntry } from './standing.ts';

/** Bytes of contents that are sent at once. */
const CHUNK_BYTES = 2_000_000;
/** With more records that the projector has to see to, it sees to all of the partition. */
const MOST_LEFT = 20_000;
/** With more rows that the table refuses, too. */
const MOST_REFUSED = 100;

/** A partition of a log that is to be loaded, up to an offset, and where its records are kept meanwhile. */
export type LoadedPartition = { readonly kafka: KafkaClient; readonly topic: string; readonly topicId: string; readonly partition: number; readonly end: number; readonly records: RecordTable };

/** What is left to the projector: records, and messages that are no events, by offset. */
export type LeftToProject = { readonly ids: ReadonlySet<string>; readonly offsets: ReadonlySet<number> };

const [NO_MARK, NOTHING, NEWLINE] = [Buffer.from('\t\\N'), Buffer.alloc(0), Buffer.from('\n')];

/** How many records were folded, and what of them is left. */
export type Loaded = { readonly records: number; readonly left: LeftToProject };

const abandoned = (): Error => new Error('abandoned');

/** Too much of the partition is not simple; nothing was written. */
export class NotSimple extends Error {}

type Content = { readonly slot: number; readonly coverage: string; readonly record: Pick<SeenHead, 'id' | 'modifiedMs' | 'fieldsAt'> & { readonly value: Buffer }; readonly deletedMs: number | null };

/** Contents that are sent together. */
class Chunk {
  /** Bytes of their messages. */
  bytes = 0;
  /** By coverage, contents of rows that are not marked as deleted, and their lines of COPY text, which were written for their digests. */
  readonly asText = new Map<string, { readonly contents: Content[]; readonly lines: Lines }>();
  readonly others: Content[] = [];
  readonly #hasMark: boolean;

  constructor(hasMark: boolean) {
    this.#hasMark = hasMark;
  }

  add(content: Content, text: { readonly head: Buffer; readonly cells: Buffer } | null): void {
    this.bytes += content.record.value.length;
    if (text === null || content.deletedMs !== null) {
      this.others.push(content);
      return;
    }
    let group = this.asText.get(content.coverage);
    if (group === undefined) this.asText.set(content.coverage, (group = { contents: [], lines: new Lines() }));
    group.contents.push(content);
    group.lines.add(text.head, this.#hasMark ? NO_MARK : NOTHING, text.cells, NEWLINE);
  }
}

/**
 * Loads a partition into register and table: folds it, then reads it again and sends of each record the content that has won, and no other. What is not one
 * content that the table holds is left to the projector. It folds at once, and waits for {@link write} before it asks anything of the database.
 */
export class PartitionLoad {
  /** How many were folded up to now. */
  messages = 0;
  readonly #projection: ModuleProjection;
  readonly #from: LoadedPartition;
  readonly #digests: LogDigests;
  readonly #left = { ids: new Set<string>(), offsets: new Set<number>() };
  readonly #declared = new Map<string, CoverageDeclared>();
  readonly #unconfirmed = new Set<string>();
  readonly #turn = Promise.withResolvers<PoolClient>();
  readonly #loading: Promise<Loaded>;
  #isAbandoned = false;
  #sending: Promise<void> = Promise.resolve();
  #refused = 0;

  /** @param digests learn what was loaded. */
  constructor(projection: ModuleProjection, from: LoadedPartition, digests: LogDigests, onMessages: (count: number) => void) {
    this.#projection = projection;
    this.#from = from;
    this.#digests = digests;
    this.#loading = this.#load(onMessages);
    // Both are waited for later.
    this.#loading.catch(() => undefined);
    this.#turn.promise.catch(() => undefined);
  }

  /**
   * Writes, in a transaction that is open.
   * @throws {NotSimple} roll back, and let the projector project all of it.
   */
  async write(client: PoolClient): Promise<Loaded> {
    this.#turn.resolve(client);
    try {
      return await this.#loading;
    } finally {
      // Nothing of it may come behind the end of the transaction.
      await this.#sending.catch(() => undefined);
    }
  }

  /** Ends what will not be written. */
  async abandon(): Promise<void> {
    this.#isAbandoned = true;
    this.#turn.reject(abandoned());
    await this.#loading.catch(() => undefined);
  }

  async #load(onMessages: (count: number) => void): Promise<Loaded> {
    const { kafka, topic, partition, end } = this.#from;
    const coverages = new Coverages(this.#projection.module);
    let records = 0;
    await foldLog(kafka, topic, [{ partition, end }], {
      fold: {
        epsilonMs: this.#projection.epsilonMs,
        keepsDeleted: this.#projection.keepsDeleted,
        records: this.#from.records,
        hasher: this.#digests.hasher,
        covers: (newer, older) => coverages.covers(newer, older),
        onCoverage: (coverage, fields) => {
          coverages.declare(coverage, fields);
          this.#digests.learn({ id: coverage, fields });
          this.#declared.set(coverage, { type: 'CoverageDeclared', coverage, fields });
        },
        onContent: () => undefined,
        onUnconfirmed: (id) => this.#unconfirmed.add(id),
      },
      skipped: new Map(),
      onUnread: (offset) => this.#left.offsets.add(offset),
      onMessages: async (_, count) => {
        if (this.#isAbandoned) throw abandoned();
        this.messages += count;
        onMessages(count);
      },
      onFolded: async (_, folded) => {
        const client = await this.#turn.promise;
        await this.#projection.declare(client, [...this.#declared.values()]);
        records += folded.size;
        await this.#sendContents(client, folded);
        await this.#sendEntries(client, folded);
        for (let slot = 0; slot < folded.size; slot += 1) this.#digests.add(partition, folded, slot);
        await this.#sending;
      },
    });
    const client = await this.#turn.promise;
    await client.query('set constraints all immediate');
    await client.query(`insert into lockstep.look_wanted (module, record_id, reason) select $1, id, 'unconfirmed' from unnest($2::bigint[]) as u (id) on conflict (module, record_id) do nothing`, [this.#projection.module.apiName, [...this.#unconfirmed]]);
    return { records, left: this.#left };
  }

  async #sendContents(client: PoolClient, records: RecordTable): Promise<void> {
    const { kafka, topic, partition, end } = this.#from;
    const isWinner = new Uint8Array(Math.ceil(end / 8));
    for (let slot = 0; slot < records.size; slot += 1) {
      if (!standingOf(records, slot, this.#projection).hasRow) continue;
      const offset = records.offsets[slot] as number;
      if (records.layersOf.has(slot)) this.#leave(records, slot);
      else isWinner[offset >>> 3] = (isWinner[offset >>> 3] as number) | (1 << (offset & 7));
    }
    let chunk = new Chunk(this.#projection.keepsDeleted);
    await readLog(kafka, topic, [{ partition, end }], {
      onMessages: async (_, messages) => {
        for (const message of messages) {
          if (((isWinner[message.offset >>> 3] as number) & (1 << (message.offset & 7))) === 0) continue;
          this.#take(records, message, chunk);
          if (chunk.bytes < CHUNK_BYTES) continue;
          await this.#send(client, records, chunk);
          chunk = new Chunk(this.#projection.keepsDeleted);
        }
      },
      onPartitionEnd: async () => undefined,
    });
    await this.#send(client, records, chunk);
    await this.#sending;
  }

  #take(records: RecordTable, message: FoldedMessage, chunk: Chunk): void {
    const value = message.value as Buffer;
    const head = (readSeenHead(value) ?? readRepairedHead(value)) as SeenHead;
    const slot = records.find(head.id, this.#digests.hasher.ofText(head.id));
    const text = this.#digests.note(records, slot, head, value);
    const { id, modifiedMs, fieldsAt, coverage } = head;
    chunk.add({ slot, coverage, record: { id, modifiedMs, fieldsAt, value }, deletedMs: standingOf(records, slot, this.#projection).markMs }, text);
  }

  /** Sends contents while the next ones are read. */
  async #send(client: PoolClient, records: RecordTable, chunk: Chunk): Promise<void> {
    await this.#sending;
    this.#sending = this.#sendByCoverage(client, records, chunk);
    // It is waited for later.
    this.#sending.catch(() => undefined);
  }

  async #sendByCoverage(client: PoolClient, records: RecordTable, { asText, others }: Chunk): Promise<void> {
    for (const [coverage, { contents, lines }] of asText) await this.#writeAll(client, records, coverage, contents, lines);
    for (const [coverage, contents] of Map.groupBy(others, (content) => content.coverage)) await this.#writeAll(client, records, coverage, contents);
  }

  async #writeAll(client: PoolClient, records: RecordTable, coverage: string, contents: readonly Content[], lines?: Lines): Promise<void> {
    const plan = await this.#planFor(client, coverage);
    if (plan === null) for (const { slot } of contents) this.#leave(records, slot);
    else await this.#write(client, records, plan, contents, lines?.text);
  }

  /** The plan for a coverage; null for one that was never declared. */
  async #planFor(client: PoolClient, coverage: string): Promise<WritePlan | null> {
    try {
      return await this.#projection.planFor(client, coverage);
    } catch (error) {
      if (faultOfData(error) === null) throw error;
      return null;
    }
  }

  /** Writes rows; where the table refuses one, the others without it. */
  async #write(client: PoolClient, records: RecordTable, plan: WritePlan, contents: readonly Content[], text?: Buffer): Promise<void> {
    await client.query('savepoint contents');
    try {
      await copyInto(client, `${plan.table} (${plan.columns.map(quote).join(', ')})`, text ?? winnersAsCopyText(contents, plan));
      await client.query('release savepoint contents');
    } catch (error) {
      if (faultOfData(error) === null) throw error;
      await client.query('rollback to savepoint contents; release savepoint contents');
      const [only] = contents;
      if (contents.length === 1 && only !== undefined) {
        this.#refused += 1;
        if (this.#refused > MOST_REFUSED) throw new NotSimple('too many rows are refused', { cause: error });
        return this.#leave(records, only.slot);
      }
      const half = contents.length >> 1;
      await this.#write(client, records, plan, contents.slice(0, half));
      await this.#write(client, records, plan, contents.slice(half));
    }
  }

  #leave(records: RecordTable, slot: number): void {
    records.flags[slot] = (records.flags[slot] as number) | LEFT;
    this.#left.ids.add(records.idOf(slot));
    if (this.#left.ids.size > MOST_LEFT) throw new NotSimple('too many records are not one content');
  }

  /** Sends register entries; the last ones are on their way when it returns. */
  async #sendEntries(client: PoolClient, records: RecordTable): Promise<void> {
    const { module: { apiName, slug } } = this.#projection;
    const [name, entry] = [Buffer.from(`${apiName}\t`), Buffer.allocUnsafeSlow(MOST_ENTRY_BYTES)];
    let lines = new Lines();
    const send = async (): Promise<void> => {
      await this.#sending;
      this.#sending = copyInto(client, `lockstep.record_version_${slug} (module, ${ENTRY_COLUMNS.join(', ')})`, lines.text);
      this.#sending.catch(() => undefined);
      lines = new Lines();
    };
    for (let slot = 0; slot < records.size; slot += 1) {
      if (((records.flags[slot] as number) & LEFT) !== 0) continue;
      lines.add(name, entry.subarray(0, writeEntry(this.#from.partition, records, slot, entry, 0)), NEWLINE);
      if (lines.length >= CHUNK_BYTES) await send();
    }
    await send();
  }
}
