import type { ParkedEntry } from '@lockstep/postgres';
import type { Register } from '@lockstep/record-log';

import type { LoggedMessage } from './fold-messages.ts';
import type { MemoryDatabase } from './memory-database.ts';
import type { DataFault } from './memory-table.ts';
import { isOutdated, judge, type Judgement, parkedObservedMs } from './overtaken.ts';
import { writeWhatFits } from './write-registers.ts';

/** A message that was kept aside with its cause. */
export type ParkedMessage = {
  readonly module: string;
  readonly id: string;
  readonly message: LoggedMessage;
  /** What it says of its record. */
  readonly register: Register;
  readonly code: DataFault['code'];
  readonly tries: number;
  readonly parkedMs: number;
  readonly triedMs: number;
  /** Whether it no longer counts: see {@link Judgement}. */
  readonly isMoot: boolean;
};

type Options = {
  readonly database: MemoryDatabase;
  readonly now: () => number;
  readonly epsilonMs: number;
  /** The longest pause between two tries of what waits. */
  readonly retryAtMostMs: number;
  /** Called when a message is kept aside. */
  readonly onParked?: (parked: ParkedMessage) => void;
};

/** Whether the same data may fit later: what it conflicts with may change. */
const mayYetFit = ({ code }: Pick<ParkedMessage, 'code'>): boolean => code !== '22001' && code !== '23502';

/** What is kept aside, and tried again while it may fit yet. */
export class ParkedMessages {
  readonly #options: Options;
  /** By module, then by the place in the log. */
  readonly #open = new Map<string, Map<string, ParkedMessage>>();
  /** Upper bounds of deletions that were ever kept aside, by module and record. */
  readonly #deletions = new Map<string, number>();

  constructor(options: Options) {
    this.#options = options;
  }

  /** @param place of the message in the log. */
  add(place: string, { module, id, message, register, code }: Pick<ParkedMessage, 'module' | 'id' | 'message' | 'register' | 'code'>): void {
    const one: ParkedMessage = { module, id, message, register, code, tries: 0, parkedMs: this.#options.now(), triedMs: this.#options.now(), isMoot: false };
    this.#of(module).set(place, one);
    if (register.deletedMs !== undefined) this.#deletions.set(`${module}/${id}`, Math.max(register.deletedMs, this.#deletions.get(`${module}/${id}`) ?? Number.NEGATIVE_INFINITY));
    this.#options.onParked?.(one);
  }

  /** What counts as parked of a module now. */
  counted(module: string): readonly ParkedMessage[] {
    return [...this.#of(module).values()].filter(({ isMoot }) => !isMoot);
  }

  /** What is kept aside of a record, and the upper bound of its latest deletion that ever was. */
  entryOf(module: string, id: string): ParkedEntry {
    const contents = this.counted(module).flatMap(({ id: other, register: { live }, parkedMs }) => (other === id && live !== undefined ? [parkedObservedMs(live, parkedMs)] : []));
    return { deletedMs: this.#deletions.get(`${module}/${id}`) ?? null, contentMs: contents.length === 0 ? null : Math.max(...contents) };
  }

  /** Records of a module that wait, other than this one, and name it. */
  naming(module: string, id: string): string[] {
    return [...this.#of(module).values()].filter((one) => mayYetFit(one) && one.id !== id && one.message.value?.includes(`"${id}"`) === true).map((one) => one.id);
  }

  /** Cuts looks and deletions that lie after a time to that time. @returns how many. */
  cutFuture(module: string, latestMs: number, isFuture: (ms: number | undefined) => boolean): number {
    for (const [key, deletedMs] of this.#deletions) if (key.startsWith(`${module}/`) && isFuture(deletedMs)) this.#deletions.set(key, latestMs);
    const cut = [...this.#of(module)].filter(([, { register }]) => isFuture(register.live?.observedMs) || isFuture(register.deletedMs));
    for (const [place, one] of cut) {
      const { live, deletedMs, ...rest } = one.register;
      const register = { ...rest, ...(live && { live: isFuture(live.observedMs) ? { ...live, observedMs: latestMs } : live }), ...(deletedMs === undefined ? {} : { deletedMs: isFuture(deletedMs) ? latestMs : deletedMs }) };
      this.#of(module).set(place, { ...one, register });
    }
    return cut.length;
  }

  /** Whether something of a module is to be tried again. */
  isWaiting(module: string): boolean {
    return [...this.#of(module).values()].some(mayYetFit);
  }

  /** Notes as resolved what the register has overtaken; what is parked for good is among it. */
  resolveOvertaken(): void {
    for (const open of this.#open.values()) for (const [place, one] of open) keep(open, place, one, this.#judge(one));
  }

  /** Tries what waits of a module again, all of it together, when some of it is due. @returns how much was resolved. */
  retry(module: string): number {
    const { database, now, epsilonMs, retryAtMostMs } = this.#options;
    const open = this.#of(module);
    const waiting = [...open].filter(([, one]) => mayYetFit(one));
    if (!waiting.some(([, { tries, triedMs }]) => triedMs + Math.min(1_000 * 2 ** (tries + 1), retryAtMostMs) <= now())) return 0;
    const left = waiting.filter(([, one]) => this.#judge(one) !== 'overtaken');
    const parked = [...[...open.values()].filter((one) => !mayYetFit(one)), ...left.map(([, one]) => one)];
    const outdated = new Set(left.map(([, one]) => one).filter((one) => parked.some((other) => other.id === one.id && isOutdated(one, other, epsilonMs))));
    const faults = writeWhatFits(database, database.table(module), left.map(([, one]) => one).filter((one) => !outdated.has(one)));
    for (const [place] of waiting) open.delete(place);
    for (const [place, one] of left) {
      const code = outdated.has(one) ? one.code : faults.get(one)?.code;
      if (code !== undefined) keep(open, place, { ...one, code, tries: one.tries + 1, triedMs: now() }, this.#judge(one));
    }
    return waiting.filter(([place]) => !open.has(place)).length;
  }

  #of(module: string): Map<string, ParkedMessage> {
    const open = this.#open.get(module) ?? new Map<string, ParkedMessage>();
    this.#open.set(module, open);
    return open;
  }

  #judge({ module, id, register, parkedMs }: ParkedMessage): Judgement {
    const { database, epsilonMs } = this.#options;
    return judge({ ...register, parkedMs }, database.table(module).records.get(id) ?? {}, epsilonMs);
  }
}

/** Keeps what is open, and what is moot for as long as it may fit yet. */
function keep(open: Map<string, ParkedMessage>, place: string, one: ParkedMessage, judgement: Judgement): void {
  if (judgement === 'overtaken' || (judgement === 'moot' && !mayYetFit(one))) open.delete(place);
  else open.set(place, { ...one, isMoot: one.isMoot || judgement === 'moot' });
}
