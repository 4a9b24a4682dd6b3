import type { Random } from '@lockstep/crm-simulator';
import { type ModuleDefinition, topicOf } from '@lockstep/modules';

import type { Fault } from './faults.ts';
import type { MemoryLog } from './memory/memory-log.ts';
import { type MemoryBatch, type MemoryProjection, PositionTaken } from './memory/memory-projection.ts';
import { projectBatch, type Transactions, transactionsOf } from './project-batch.ts';
import type { VirtualGroup } from './virtual-group.ts';
import type { VirtualProcess } from './virtual-process.ts';

export type VirtualProjectorDeps = {
  readonly name: string;
  readonly process: VirtualProcess;
  readonly group: VirtualGroup;
  readonly projection: MemoryProjection;
  readonly log: MemoryLog;
  readonly random: Random;
  readonly sleep: (ms: number) => Promise<void>;
  readonly met: (fault: Fault) => void;
};

/** The name of a partition in its group. */
export const partitionName = (module: ModuleDefinition, partition: number): string => `${module.apiName}/${partition}`;

/**
 * One projector's work on one partition, round by round. As the projector's lanes do, it goes on from the position that it
 * remembers, not from the one that stands in the database, until that one says that another process has moved it.
 */
export class VirtualProjector {
  readonly #deps: VirtualProjectorDeps;
  readonly #transactions: Transactions;
  readonly #next = new Map<string, number>();

  constructor(deps: VirtualProjectorDeps) {
    this.#deps = deps;
    this.#transactions = deps.process.guard(transactionsOf(deps.projection), 'store');
  }

  /** A batch, which ends anywhere. */
  async project(module: ModuleDefinition, partition: number): Promise<void> {
    const { name, group, random, sleep, met } = this.#deps;
    const key = partitionName(module, partition);
    if (!group.isHeld(name, key)) return void this.#next.delete(key);
    const from = this.#next.get(key) ?? (await this.#transactions.next(module.apiName, partition));
    this.#next.set(key, from);
    const messages = this.#deps.log.read(topicOf(module), partition, from, 1 + random.below(40));
    if (messages.length === 0) return;
    // The batch is in hand: from here on another process may have taken the partition over.
    await sleep(random.below(4) === 0 ? random.below(3_000) : 1);
    if (group.isZombie(name, key)) met('batch-handed-over');
    await this.#apply({ module, partition, from, messages }, key);
  }

  async retry({ apiName }: ModuleDefinition): Promise<void> {
    if (!this.#deps.projection.isWaiting(apiName)) return;
    if ((await this.#transactions.retry(apiName)) > 0) this.#deps.met('conflict-resolved');
  }

  async #apply(batch: MemoryBatch, key: string): Promise<void> {
    try {
      await projectBatch(this.#transactions, batch);
      this.#next.set(key, (batch.messages.at(-1)?.offset ?? 0) + 1);
    } catch (error) {
      // Whatever happened, the database knows where the partition stands.
      this.#next.delete(key);
      if (error instanceof PositionTaken) this.#deps.met('zombie-fenced');
      else throw error;
    }
  }
}
