import type { Applied } from '@lockstep/projection';

/** Below this many parked messages a share says nothing. */
const ALWAYS_ALLOWED = 100;
const MAX_SHARE = 0.01;
/** While a module is known to be in a wave: a part of it that fits for the most part shows that the wave is over. */
const MAX_SHARE_IN_WAVE = 0.1;
const WINDOW_MS = 10 * 60_000;
const WINDOW_MESSAGES = 10_000;

/** Messages of a module that were applied together. */
type Counts = { readonly atMs: number; readonly messages: number; readonly parked: number };

/**
 * How much of each module may be parked for good: of its last 10,000 messages, or those of the last ten minutes, a hundred, or one in a hundred. More means
 * that mapping and table do not match, which concerns the messages to come as well.
 */
export class ParkedShare {
  readonly #counts = new Map<string, Counts[]>();
  readonly #waves = new Set<string>();
  readonly #nowMs: () => number;

  /** @param nowMs a clock that never goes back. */
  constructor(nowMs: () => number = () => performance.now()) {
    this.#nowMs = nowMs;
  }

  /** Of so many messages, how many may be parked for good. */
  mostParked(module: string, messages: number): number {
    const recent = this.#recent(module);
    const total = recent.reduce((sum, one) => sum + one.messages, messages);
    const parked = recent.reduce((sum, one) => sum + one.parked, 0);
    const most = Math.max(0, Math.max(ALWAYS_ALLOWED, Math.floor(MAX_SHARE * total)) - parked);
    return this.#waves.has(module) ? Math.min(most, Math.floor(MAX_SHARE_IN_WAVE * messages)) : most;
  }

  /** Notes what became of a batch. */
  note(module: string, { applied, refused, rejects, waiting }: Pick<Applied, 'applied' | 'refused' | 'rejects' | 'waiting'>): void {
    this.#counts.set(module, [...this.#recent(module), { atMs: this.#nowMs(), messages: applied + refused + rejects + waiting, parked: rejects }]);
  }

  /** Notes whether a module is halted since too many messages do not fit. */
  setWave(module: string, isWave: boolean): void {
    if (isWave) this.#waves.add(module);
    else this.#waves.delete(module);
  }

  /** The oldest batches go once the others are a whole window by themselves. */
  #recent(module: string): readonly Counts[] {
    const since = this.#nowMs() - WINDOW_MS;
    const counts = (this.#counts.get(module) ?? []).filter(({ atMs }) => atMs > since);
    let later = counts.reduce((sum, { messages }) => sum + messages, 0);
    const from = counts.findIndex(({ messages }) => (later -= messages) < WINDOW_MESSAGES);
    const recent = counts.slice(Math.max(0, from));
    this.#counts.set(module, recent);
    return recent;
  }
}
