import { columnOf, deletedTime, type ModuleProjection, ProjectionError, type WritePlan, writeCopyFields } from '@lockstep/projection';
import { type Coverage, coverage, type SeenHead } from '@lockstep/record-log';

import { type Digest, DigestSums } from './digest-sums.ts';
import { asCompared, inOutputForm, type OutputForm, outputFormOf, outputTime } from './output-form.ts';
import { quote } from './quote.ts';

/** What texts begin with that are no rows: no row does. */
export const [OF_MARK, OF_ENTRY] = ['\n', '\n\n'] as const;

const [TAB, VERTICAL_TAB, BACKSLASH, V] = [0x09, 0x0b, 0x5c, 0x76];
const MOST_BYTES_OF_HEAD = 128;

/** Where the cells of a coverage's contents belong in the compared text; null for a coverage that does not speak of all that is compared. */
type CellOrder = { readonly plan: WritePlan; /** For each compared column, the number of its cell. */ readonly cells: readonly number[]; /** Whether that is each in its place. */ readonly inOrder: boolean } | null;

/**
 * The digest of a row as the table gives it out, foreseen from a content of the log: key, modified time, and each column that is compared, in the
 * module's order. What cannot be foreseen has none, and is compared in Postgres.
 */
export class RowDigests {
  readonly #projection: ModuleProjection;
  readonly #forms: readonly OutputForm[];
  readonly #columns: readonly string[];
  readonly #orders = new Map<string, CellOrder>();
  readonly #sums: DigestSums;
  #cells: Buffer;
  #text: Buffer;

  constructor(projection: ModuleProjection, sums: DigestSums) {
    this.#projection = projection;
    const fields = projection.module.fields.filter(({ onTriggerChange }) => onTriggerChange !== 'accept');
    this.#columns = fields.map(({ column }) => column);
    this.#forms = fields.map((mapping) => outputFormOf(mapping, columnOf(projection.table, mapping.column)));
    this.#sums = sums;
    this.#cells = Buffer.allocUnsafeSlow(1 << 16);
    this.#text = sums.room(1 << 16);
    this.learn(projection.own);
  }

  /** A query for the table's rows: key, modified time, what is compared, and the mark of deletion, if rows are marked. */
  get query(): string {
    const { module: { table, keyColumn, modifiedTimeColumn, onDelete }, table: described } = this.#projection;
    const names = [keyColumn, modifiedTimeColumn, ...this.#columns, ...(onDelete.action === 'mark' ? [onDelete.deletedColumn] : [])];
    return `select ${names.map((name) => asCompared(quote(name), columnOf(described, name))).join(', ')} from ${quote(table.schema)}.${quote(table.name)} where ${quote(keyColumn)} is not null`;
  }

  /** Learns a coverage that the log declares. Contents of others are not foreseen. */
  learn(declared: Coverage): void {
    if (this.#orders.has(declared.id) || coverage(declared.fields).id !== declared.id) return;
    const plan = this.#projection.planOf(declared);
    const first = this.#projection.keepsDeleted ? 3 : 2;
    const cells = this.#columns.map((column) => plan.columns.indexOf(column, first) - first);
    this.#orders.set(declared.id, cells.some((cell) => cell < 0) || plan.modifiedStepMs > 1 ? null : { plan, cells, inOrder: cells.length === plan.columns.length - first && cells.every((cell, at) => cell === at) });
  }

  /**
   * What the last content with a digest was made of, until the next one is: key and modified time, and its plan's cells, each behind its tab, both as
   * COPY text.
   */
  readonly last: { head: Buffer; cells: Buffer } = { head: Buffer.alloc(0), cells: Buffer.alloc(0) };

  /** The digest of a row that a content alone stands for; null where it is not foreseen. */
  of({ id, modifiedMs, coverage, fieldsAt }: SeenHead, value: Buffer): Digest | null {
    const order = this.#orders.get(coverage);
    if (order === null || order === undefined) return null;
    this.#reserve(value.length);
    const time = outputTime(modifiedMs, columnOf(this.#projection.table, this.#projection.module.modifiedTimeColumn));
    if (time === null) return null;
    const end = this.#writeCells(order.plan, value, fieldsAt);
    if (end < 0) return null;
    const at = DigestSums.start + this.#text.write(`${id}\t${time}`, DigestSums.start, 'latin1');
    this.last.head = this.#text.subarray(DigestSums.start, at);
    this.last.cells = this.#cells.subarray(0, end);
    return DigestSums.digest(this.#text, order.inOrder ? this.#copyAll(end, at) : this.#copyInOrder(order.cells, end, at));
  }

  /** The digest of a mark of deletion; null where it is not foreseen. */
  ofDeletion(id: string, deletedMs: number): Digest | null {
    const { module: { onDelete }, table } = this.#projection;
    if (onDelete.action !== 'mark') return null;
    const time = outputTime(Date.parse(deletedTime(deletedMs)), columnOf(table, onDelete.deletedColumn));
    return time === null ? null : DigestSums.digest(this.#text, DigestSums.start + this.#text.write(`${OF_MARK}${id}\t${time}`, DigestSums.start, 'latin1'));
  }

  /** Writes what a content says. @returns where it ends; -1 where the table cannot hold it. */
  #writeCells(plan: WritePlan, value: Buffer, fieldsAt: number): number {
    try {
      return writeCopyFields(value, fieldsAt, plan.keep, this.#cells, 0, plan.rules);
    } catch (error) {
      if (error instanceof ProjectionError) return -1;
      throw error;
    }
  }

  /** Copies cells, each behind its tab, in their order, which is that of the compared columns. */
  #copyAll(end: number, to: number): number {
    const [cells, text, forms] = [this.#cells, this.#text, this.#forms];
    let at = to;
    let start = to;
    let form: OutputForm = 'same';
    let cell = -1;
    for (let from = 0; from < end; from += 1) {
      const byte = cells[from] as number;
      if (byte === TAB) {
        if (form !== 'same') at = inOutputForm(form, text, start, at);
        cell += 1;
        form = forms[cell] as OutputForm;
        text[at++] = TAB;
        start = at;
      } else if (byte === VERTICAL_TAB) {
        text[at++] = BACKSLASH;
        text[at++] = V;
      } else {
        text[at++] = byte;
      }
    }
    return form === 'same' ? at : inOutputForm(form, text, start, at);
  }

  /** Copies cells in the order of the compared columns. */
  #copyInOrder(order: readonly number[], end: number, to: number): number {
    const starts = [];
    for (let at = 0; at < end; at += 1) if (this.#cells[at] === TAB) starts.push(at + 1);
    let at = to;
    for (const [index, cell] of order.entries()) {
      this.#text[at++] = TAB;
      const start = at;
      for (let from = starts[cell] as number; from < end && this.#cells[from] !== TAB; from += 1) {
        if (this.#cells[from] === VERTICAL_TAB) this.#text[at++] = BACKSLASH;
        this.#text[at++] = this.#cells[from] === VERTICAL_TAB ? V : this.#cells[from] as number;
      }
      const form = this.#forms[index] as OutputForm;
      if (form !== 'same') at = inOutputForm(form, this.#text, start, at);
    }
    return at;
  }

  #reserve(bytes: number): void {
    // A cell grows by 10 bytes at most, or by the digits of a scale.
    const room = bytes * 2 + MOST_BYTES_OF_HEAD + this.#forms.reduce((sum, form) => sum + (typeof form === 'object' ? form.scale : 10), 0);
    if (this.#cells.length < bytes) this.#cells = Buffer.allocUnsafeSlow(bytes * 2);
    if (this.#text.length < room + DigestSums.start) this.#text = this.#sums.room(room * 2);
  }
}
