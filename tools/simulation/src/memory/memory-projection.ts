import type { ModuleDefinition } from '@lockstep/modules';
import type { ParkedEntry } from '@lockstep/postgres';
import { decodeEvent, registerOf } from '@lockstep/record-log';

import { foldMessages, type LoggedMessage } from './fold-messages.ts';
import type { MemoryDatabase } from './memory-database.ts';
import type { DataFault } from './memory-table.ts';
import { type ParkedMessage, ParkedMessages } from './parked-messages.ts';
import { writeTogether } from './write-registers.ts';

/** Messages of one partition, and the position at which their owner believes to stand. */
export type MemoryBatch = { readonly module: ModuleDefinition; readonly partition: number; readonly from: number; readonly messages: readonly LoggedMessage[] };

/** Another process moved the position: what this one has in hand is not for it to apply. */
export class PositionTaken extends Error {
  constructor() {
    super('another process moved the position of a partition');
    this.name = 'PositionTaken';
  }
}

export type MemoryProjectionOptions = {
  readonly database: MemoryDatabase;
  readonly now: () => number;
  readonly epsilonMs: number;
  readonly retryAtMostMs: number;
  readonly onParked?: (parked: ParkedMessage) => void;
  /** Called where a confirmation says something newer than the register and does not fit it. */
  readonly onUnconfirmed: (module: string, id: string) => void;
  /** Called with each move of a partition's position. */
  readonly onAdvanced?: (partition: string, from: number, to: number) => void;
};

/** What the projector does in Postgres, by the rules of `packages/projection`: each function is one transaction. */
export class MemoryProjection {
  readonly #options: MemoryProjectionOptions;
  readonly #parked: ParkedMessages;
  readonly #positions = new Map<string, number>();

  constructor(options: MemoryProjectionOptions) {
    this.#options = options;
    this.#parked = new ParkedMessages(options);
  }

  /** The next offset to be applied. */
  next(module: string, partition: number): number {
    return this.#positions.get(`${module}/${partition}`) ?? 0;
  }

  /** Applies a batch, all of it or nothing. @throws {DataFault} @throws {PositionTaken} */
  apply(batch: MemoryBatch): void {
    const { database, onUnconfirmed } = this.#options;
    this.#checkPosition(batch);
    const table = database.table(batch.module.apiName);
    const { changed, unconfirmed } = foldMessages(table, batch.messages);
    database.transaction(() => writeTogether(database, table, changed));
    for (const id of unconfirmed) onUnconfirmed(batch.module.apiName, id);
    this.#advance(batch);
  }

  /** Keeps the one message of a batch aside. @throws {PositionTaken} */
  park(batch: MemoryBatch, { code }: DataFault): void {
    const { module: { apiName: module }, partition, messages: [message] } = batch;
    this.#checkPosition(batch);
    const event = decodeEvent(message?.value ?? '');
    if (message !== undefined && event.type !== 'CoverageDeclared' && event.type !== 'RecordConfirmed') this.#parked.add(`${module}/${partition}/${message.offset}`, { module, id: event.id, message, register: registerOf(event), code });
    this.#advance(batch);
  }

  /** Tries what waits of a module again, when some of it is due. @returns how much was resolved. */
  retry(module: string): number {
    return this.#parked.retry(module);
  }

  /** Notes as resolved what the register has overtaken. */
  resolveOvertaken(): void {
    this.#parked.resolveOvertaken();
  }

  /** What counts as parked of a module now. */
  parked(module: string): readonly ParkedMessage[] {
    return this.#parked.counted(module);
  }

  /** What is kept aside of a record. */
  parkedOf(module: string, id: string): ParkedEntry {
    return this.#parked.entryOf(module, id);
  }

  /** Records of a module that wait and name this one. */
  waitingFor(module: string, id: string): string[] {
    return this.#parked.naming(module, id);
  }

  /** Cuts looks and deletions of what is parked that lie after a time. @returns how many. */
  cutFutureParked(module: string, latestMs: number, isFuture: (ms: number | undefined) => boolean): number {
    return this.#parked.cutFuture(module, latestMs, isFuture);
  }

  /** Whether something of a module is to be tried again. */
  isWaiting(module: string): boolean {
    return this.#parked.isWaiting(module);
  }

  /** Fences off who was replaced, as the comparison in the transaction does. */
  #checkPosition({ module, partition, from }: MemoryBatch): void {
    if (this.next(module.apiName, partition) !== from) throw new PositionTaken();
  }

  #advance({ module, partition, from, messages }: MemoryBatch): void {
    const to = (messages.at(-1)?.offset ?? from - 1) + 1;
    this.#options.onAdvanced?.(`${module.apiName}/${partition}`, from, to);
    this.#positions.set(`${module.apiName}/${partition}`, to);
  }
}
