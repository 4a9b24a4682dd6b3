import { topicOf } from '@lockstep/modules';
import type { Freshness } from '@lockstep/postgres';
import { decodeEvent, type Observation } from '@lockstep/record-log';

import { Watch } from './invariants.ts';
import { simulatedLeads } from './modules.ts';
import type { VirtualProcess } from './virtual-process.ts';
import { type CrmFaults, noFaults } from './virtual-crm.ts';
import { World, type WorldOptions } from './world.ts';

export type { VirtualProcess };

/** `10:05:00.250` of one fixed day, epoch milliseconds: a fixture's clock. */
export const time = (clock: string): number => Date.parse(`2026-05-04T${clock}Z`);

/** A row as a reader of the legacy table sees it. */
export type Row = { readonly fields: readonly unknown[]; readonly modifiedMs: number; readonly isDeleted: boolean } | null;

/** A world of a few Leads, loaded and caught up, at a moment of a test's choosing. */
export class Story {
  readonly world: World;
  readonly watch: Watch;

  private constructor(world: World) {
    this.world = world;
    this.watch = new Watch(world);
  }

  /** @param startsAt when the story begins; the first load was well before. */
  static async loaded(startsAt: string, options: Partial<WorldOptions> = {}): Promise<Story> {
    const world = new World({ seed: 1, modules: [simulatedLeads], records: 6, paceMs: 2_000, ...options, startMs: time(startsAt) - 20 * 60_000 });
    const story = new Story(world);
    world.startAll();
    await story.until(startsAt);
    return story;
  }

  /** A world that begins to load at a moment of a test's choosing. */
  static async loading(startsAt: string, options: Partial<WorldOptions> = {}): Promise<Story> {
    const world = new World({ seed: 1, modules: [simulatedLeads], records: 40, pageSize: 10, paceMs: 2_000, ...options, startMs: time(startsAt) });
    const story = new Story(world);
    world.startAll();
    await world.time.advance(10_000);
    return story;
  }

  get ids(): string[] {
    return this.world.crm.records.ids('Leads');
  }

  /** Lets time pass up to a moment. */
  async until(clock: string): Promise<void> {
    await this.world.time.advance(time(clock) - this.world.time.now());
    this.watch.check();
  }

  faults(faults: Partial<CrmFaults>): void {
    this.world.crm.setFaults({ ...noFaults, ...faults });
  }

  edit(id: string, fields: Readonly<Record<string, unknown>>, manner: { isNotified?: boolean; isLate?: boolean; keepsTime?: boolean; modifiedMs?: number } = {}): void {
    this.world.crm.edit('Leads', [id], fields, manner);
    if (manner.keepsTime === true) this.watch.changedWithoutTime(simulatedLeads, id);
    else this.watch.changed(simulatedLeads, id);
  }

  delete(id: string, isNotified = true): void {
    this.world.crm.delete('Leads', id, isNotified);
    this.watch.changed(simulatedLeads, id);
  }

  restore(id: string, isNotified = true): void {
    this.world.crm.restore('Leads', id, isNotified);
    this.watch.restored(simulatedLeads, id);
  }

  row(id: string): Row {
    const record = this.world.tables.record('Leads', id);
    if (record?.live === undefined) return null;
    return { fields: record.content?.fields ?? [], modifiedMs: record.live.modifiedMs, isDeleted: !this.world.tables.isShown('Leads', id) };
  }

  /** The company in a row: the first of the simulated fields. */
  company(id: string): unknown {
    return this.row(id)?.fields[0] ?? null;
  }

  get seenUpTo(): number {
    return this.world.tables.freshness(simulatedLeads).seenUpTo?.getTime() ?? Number.NEGATIVE_INFINITY;
  }

  get freshness(): Freshness {
    return this.world.tables.freshness(simulatedLeads);
  }

  /** What the log holds of a record, partition by partition. */
  events(id: string): Observation[] {
    const topic = topicOf(simulatedLeads);
    const messages = this.world.log.ends(topic).flatMap(({ high }, partition) => this.world.log.read(topic, partition, 0, high));
    return messages.map(({ value }) => decodeEvent(value ?? '')).filter((event) => event.type !== 'CoverageDeclared' && event.id === id) as Observation[];
  }
}
