import { constants } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';

import { type Database, type Lease, lease } from '@lockstep/postgres';
import { crashPoint, loop, type Logger } from '@lockstep/telemetry';

import { inTransaction } from './apply-batch.ts';
import { ConsumerError } from './errors.ts';
import { type Delivery, noteDelivered, waitingDeliveries } from './outbox.ts';

export type FileWriterOptions = {
  readonly db: Database;
  readonly name: string;
  readonly schema: string;
  readonly path: string;
  readonly log: Logger;
  readonly onOutcome?: (outcome: 'delivered' | 'failed') => void;
};

const POLL_MS = 250;
const LINES_AT_ONCE = 1_000;

/**
 * Appends what the outbox holds to a file, one line of JSON each, exactly once. How long the file is belongs to the outbox: what stands behind that
 * was written by a process that ended before it could say so, is cut off, and written again.
 */
export class FileWriter {
  readonly #options: FileWriterOptions;
  readonly #closing = new AbortController();
  #lease: Lease | null = null;
  #failure: Error | null = null;
  #wake: () => void = () => undefined;
  #running: Promise<void> = Promise.resolve();

  constructor(options: FileWriterOptions) {
    this.#options = options;
  }

  start(): void {
    const wake = (): Promise<void> =>
      new Promise((resolve) => {
        this.#wake = resolve;
      });
    this.#running = loop({ name: 'file', everyMs: POLL_MS, signal: this.#closing.signal, log: this.#options.log, body: () => this.#round(), wake });
  }

  wake(): void {
    this.#wake();
  }

  /** @throws {Error} while the file cannot be written; for the readiness check. */
  check(): void {
    if (this.#failure !== null) throw this.#failure;
  }

  async close(): Promise<void> {
    this.#closing.abort();
    await this.#running;
    await this.#lease?.release();
  }

  async #round(): Promise<boolean> {
    if (this.#lease?.signal.aborted !== false) this.#lease = await lease(this.#options.db, `consumer ${this.#options.name} outbox`);
    if (this.#lease === null) return false;
    try {
      const lines = await this.#append(this.#lease.signal);
      this.#failure = null;
      return lines === LINES_AT_ONCE;
    } catch (error) {
      this.#failure = error instanceof Error ? error : new Error(String(error));
      throw error;
    }
  }

  /** @returns how many lines. */
  async #append(signal: AbortSignal): Promise<number> {
    const { db, schema, path, onOutcome } = this.#options;
    return await inTransaction(db.pool, async (client) => {
      await client.query(`insert into ${schema}.file (path, bytes) values ($1, 0) on conflict do nothing`, [path]);
      const { rows: [row] } = await client.query<{ bytes: string }>(`select bytes from ${schema}.file where path = $1 for update`, [path]);
      const bytes = Number(row?.bytes);
      const waiting = await waitingDeliveries(client, schema, LINES_AT_ONCE);
      if (waiting.length === 0) return 0;
      const lines = Buffer.from(linesOf(waiting));
      signal.throwIfAborted();
      await writeAt(path, lines, bytes);
      crashPoint('lines-appended');
      await client.query(`update ${schema}.file set bytes = $2 where path = $1`, [path, bytes + lines.length]);
      await noteDelivered(client, schema, waiting);
      for (const _ of waiting) onOutcome?.('delivered');
      return waiting.length;
    });
  }
}

const linesOf = (deliveries: readonly Delivery[]): string => deliveries.map(({ body }) => `${body}\n`).join('');

/** Writes lines at the end of what counts. The file is opened each time: another one may have taken its name. */
async function writeAt(path: string, lines: Buffer, position: number): Promise<void> {
  const file = await openAt(path, position);
  try {
    for (let at = 0; at < lines.length; ) at += (await file.write(lines, at, lines.length - at, position + at)).bytesWritten;
    await file.sync();
  } finally {
    await file.close();
  }
}

/** Opens the file, and cuts off what does not count. @throws {ConsumerError} `FILE_CHANGED`. */
async function openAt(path: string, bytes: number): Promise<FileHandle> {
  const file = await open(path, constants.O_RDWR | constants.O_CREAT, 0o640);
  try {
    const { size } = await file.stat();
    if (size < bytes) throw new ConsumerError(`${path} has ${size} bytes, and ${bytes} were written to it: it was removed or cut. Restore it, or name another file`, 'FILE_CHANGED');
    if (size > bytes) await file.truncate(bytes);
    return file;
  } catch (error) {
    await file.close();
    throw error;
  }
}
