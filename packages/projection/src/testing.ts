import { coverageOf, type ModuleDefinition } from '@lockstep/modules';
import { encodeConfirmed, encodeDeleted, encodeRepaired, encodeSeen, type FieldValue, type Observation } from '@lockstep/record-log';
import type { PoolClient } from 'pg';

import type { Applied } from './apply-batch.ts';
import type { LogMessage } from './fold-batch.ts';
import { ModuleProjection } from './module-projection.ts';
import { loadPositions } from './positions.ts';
import { projectBatch, type ProjectOptions } from './project-batch.ts';

export const EPSILON_MS = 60_000;

/** `10:05:00` of one fixed day, epoch milliseconds: a fixture's clock. */
export const at = (clock: string): number => Date.parse(`2026-03-02T${clock}Z`);
export const recordId = (n: number): string => String(5_725_767_000_000_000_000n + BigInt(n));

/** An observation as its event's value. */
export const encoded = (observation: Observation): string => {
  switch (observation.type) {
    case 'RecordDeleted':
      return encodeDeleted(observation);
    case 'RecordConfirmed':
      return encodeConfirmed(observation);
    case 'RecordRepaired':
      return encodeRepaired(observation).value;
    case 'RecordSeen':
      return encodeSeen(observation).value;
  }
};

/** A topic of its own with one partition, and what is written to it. */
export class Topic {
  readonly projection: ModuleProjection;
  readonly topicId = crypto.randomUUID();
  readonly #client: PoolClient;
  readonly #module: ModuleDefinition;
  #offset = 0;
  #next = 0;

  constructor(client: PoolClient, module: ModuleDefinition) {
    this.#client = client;
    this.#module = module;
    this.projection = new ModuleProjection(module, EPSILON_MS);
  }

  message(value: string | null): LogMessage {
    return { partition: 0, offset: this.#offset++, value: value === null ? null : Buffer.from(value) };
  }

  seen({ n = 1, modified, observed = modified, ...fields }: { n?: number; modified: string; observed?: string; [field: string]: FieldValue | undefined | number }): LogMessage {
    const covered = coverageOf(this.#module);
    const values = covered.fields.map((field) => (fields[field] ?? null) as FieldValue);
    return this.message(encodeSeen({ id: recordId(n), modifiedMs: at(modified), observedMs: at(observed), coverage: covered.id, fields: values }).value);
  }

  repaired({ n = 1, modified, version, observed, ...fields }: { n?: number; modified: string; version: string; observed: string; [field: string]: FieldValue | undefined | number }): LogMessage {
    const covered = coverageOf(this.#module);
    const values = covered.fields.map((field) => (fields[field] ?? null) as FieldValue);
    return this.message(encodeRepaired({ id: recordId(n), modifiedMs: at(modified), versionMs: at(version), observedMs: at(observed), coverage: covered.id, fields: values }).value);
  }

  /** @param listed when the list was read that said so. */
  deleted(clock: string, n = 1, listed?: string): LogMessage {
    return this.message(encodeDeleted({ id: recordId(n), deletedMs: at(clock), ...(listed === undefined ? {} : { listedMs: at(listed) }) }));
  }

  async project(messages: readonly LogMessage[], { from = this.#next, ...options }: { readonly from?: number } & ProjectOptions = {}): Promise<Applied> {
    await loadPositions(this.#client, { topic: this.topicId, topicId: this.topicId, partitions: [0] });
    const to = (messages.at(-1)?.offset ?? 0) + 1;
    const applied = await projectBatch(this.#client, this.projection, { topic: this.topicId, topicId: this.topicId, messages, positions: new Map([[0, { from, to }]]) }, options);
    this.#next = to;
    return applied;
  }
}
