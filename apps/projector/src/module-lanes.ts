import { Lane, type LaneDeps, type Work } from './lane.ts';

/**
 * The lanes of each module, so that a table that is locked or slow keeps no other module waiting. A partition always goes the same lane.
 */
export class ModuleLanes {
  readonly #lanes = new Map<string, readonly Lane[]>();

  /** @param lanes database connections that write at once for a module; one is opened with its first batch. */
  constructor(topics: Iterable<string>, lanes: number, deps: LaneDeps) {
    for (const topic of topics) this.#lanes.set(topic, Array.from({ length: lanes }, () => new Lane(deps)));
  }

  push(work: Work): void {
    const lanes = this.#of(work.assigned.topic);
    (lanes[work.assigned.partition % lanes.length] as Lane).push(work);
  }

  /** Bytes of messages that wait, of a topic or of all. */
  queuedBytes(topic?: string): number {
    return (topic === undefined ? [...this.#lanes.values()].flat() : this.#of(topic)).reduce((sum, lane) => sum + lane.queuedBytes, 0);
  }

  async close(): Promise<void> {
    await Promise.all([...this.#lanes.values()].flat().map((lane) => lane.close()));
  }

  #of(topic: string): readonly Lane[] {
    return this.#lanes.get(topic) ?? [];
  }
}
