import type { ModuleDefinition } from '@lockstep/modules';
import type { Claim, DeletionBreaker, Freshness, LookReason, RegisterAudits, RegisterEntry, RegisterReader, WantedLook, WantedLooks, Watermarks } from '@lockstep/postgres';
import { compareVersions, type Content, decodeEvent, doubtSince, isAlive, isSettled, observe, type Register, type Version, versionTime } from '@lockstep/record-log';

import type { memoryWatermarks } from './memory-jobs.ts';

/** A record's register and what stands in its row. */
export type MemoryRecord = { live: Version | undefined; content: Content | undefined; deletedMs: number | undefined; listedMs: number | undefined; isHidden: boolean };

/** A message of a record topic. */
export type LoggedMessage = { readonly offset: number; readonly value: Buffer | null };

export type MemoryTables = {
  readonly register: RegisterReader;
  readonly audits: RegisterAudits;
  readonly watermarks: Watermarks;
  readonly looks: WantedLooks;
  readonly breaker: DeletionBreaker;
  /** Applies messages of one partition, as a transaction: all of it, or nothing. */
  project(module: ModuleDefinition, partition: number, messages: readonly LoggedMessage[]): void;
  /** The next offset to be applied. */
  next(module: ModuleDefinition, partition: number): number;
  record(module: string, id: string): MemoryRecord | undefined;
  records(module: string): ReadonlyMap<string, MemoryRecord>;
  freshness(module: ModuleDefinition): Freshness;
};

type Options = { readonly now: () => number; readonly epsilonMs: number; readonly watermarks: ReturnType<typeof memoryWatermarks>; readonly allowedDeletions?: number };

/** Register, rows, positions and looks in memory: what the projector keeps in Postgres, by the same rules. */
export function memoryTables({ now, epsilonMs, watermarks, allowedDeletions = Number.POSITIVE_INFINITY }: Options): MemoryTables {
  const tables = new Map<string, Map<string, MemoryRecord>>();
  const positions = new Map<string, number>();
  const wanted = new Map<string, WantedLook>();
  const held = new Map<string, { readonly deletions: number; readonly heldAt: Date; readonly releasedUntilMs: number | null }>();
  const tableOf = (module: string): Map<string, MemoryRecord> => {
    const table = tables.get(module) ?? new Map<string, MemoryRecord>();
    tables.set(module, table);
    return table;
  };
  const want = (module: string, id: string, reason: LookReason): void => {
    if (!wanted.has(`${module}/${id}`)) wanted.set(`${module}/${id}`, { module, id, reason });
  };
  const at = ({ live, content, deletedMs, listedMs }: MemoryRecord): Register => ({ ...(live && { live }), ...(content && { content }), ...(deletedMs === undefined ? {} : { deletedMs }), ...(listedMs === undefined ? {} : { listedMs }) });

  const isLive = (record: MemoryRecord): boolean => isAlive(at(record), epsilonMs);
  const isDoubtfulDeath = (record: MemoryRecord, doubtMs: number): boolean => record.deletedMs !== undefined && !isAlive(at(record), doubtMs) && !isSettled(at(record), doubtMs);
  const nextOf = (module: string, partition: number): number => positions.get(`${module}/${partition}`) ?? 0;
  const reached = (module: string, kind: Claim['kind']): Date | null => watermarks.claims(module, kind).find(({ endOffsets }) => endOffsets.every((end, partition) => nextOf(module, partition) >= end))?.at ?? null;

  const apply = (module: string, { value }: LoggedMessage): void => {
    const event = decodeEvent(value ?? '');
    if (event.type === 'CoverageDeclared') return;
    const record: MemoryRecord = tableOf(module).get(event.id) ?? { live: undefined, content: undefined, deletedMs: undefined, listedMs: undefined, isHidden: false };
    const { live, content, deletedMs, listedMs } = observe(at(record), event, epsilonMs);
    const isSeen = live !== undefined && (record.live === undefined || compareVersions(live, record.live) !== 0);
    if (event.type === 'RecordConfirmed') {
      const isNewer = record.live === undefined || versionTime(event) > versionTime(record.live) || (versionTime(event) === versionTime(record.live) && event.observedMs > record.live.observedMs);
      if (!isSeen && isNewer) want(module, event.id, 'unconfirmed');
      if (!isSeen) return;
    }
    Object.assign(record, { live, content, deletedMs, listedMs });
    // What was seen, or counts as deleted now, is hidden no more.
    record.isHidden &&= !isSeen && isLive(record);
    tableOf(module).set(event.id, record);
  };

  return {
    project: (module, partition, messages) => {
      for (const message of messages) apply(module.apiName, message);
      const last = messages.at(-1);
      if (last !== undefined) positions.set(`${module.apiName}/${partition}`, last.offset + 1);
    },
    next: (module, partition) => nextOf(module.apiName, partition),
    record: (module, id) => tableOf(module).get(id),
    records: (module) => tableOf(module),
    register: {
      known: async (module, ids) => {
        const known = new Map<string, RegisterEntry>();
        for (const id of ids) {
          const record = tableOf(module).get(id);
          if (record !== undefined) known.set(id, { modifiedMs: record.live?.modifiedMs ?? null, ...(record.live?.versionMs === undefined ? {} : { versionMs: record.live.versionMs }), observedMs: record.live?.observedMs ?? null, hash: record.live?.hash ?? null, deletedMs: record.deletedMs ?? null, listedMs: record.listedMs ?? null });
        }
        return known;
      },
      // Nothing is parked in memory.
      parkedDeletions: async () => new Map(),
      hidden: async (module, ids) => {
        for (const id of ids) {
          const record = tableOf(module).get(id);
          if (record !== undefined && isLive(record)) record.isHidden = true;
        }
      },
      deleted: async (module, since) => idsOf(tableOf(module), (record) => (record.deletedMs ?? Number.NEGATIVE_INFINITY) >= since.getTime() && !isAlive(at(record), epsilonMs)),
      doubtful: async (module, since, doubtMs) => idsOf(tableOf(module), (record) => (record.deletedMs ?? Number.NEGATIVE_INFINITY) >= since.getTime() && isDoubtfulDeath(record, doubtMs)),
      oldestDoubt: async (module, since, doubtMs) => {
        const deletions = [...tableOf(module).values()].filter((record) => isDoubtfulDeath(record, doubtMs)).map(({ deletedMs }) => deletedMs ?? 0);
        const oldest = Math.min(...deletions.filter((ms) => ms >= since.getTime()));
        return oldest === Number.POSITIVE_INFINITY ? null : new Date(oldest);
      },
    },
    looks: {
      want: async (module, ids, reason) => {
        for (const id of ids) want(module, id, reason);
      },
      resolveOvertaken: async () => undefined,
      due: async (limit) => [...wanted.values()].slice(0, limit),
      done: async (looks) => {
        for (const { module, id } of looks) wanted.delete(`${module}/${id}`);
      },
    },
    watermarks: { ...watermarks, reached: async (module, kind) => reached(module, kind) },
    audits: {
      count: async (module, { changedSince, now: at }) => {
        const records = [...tableOf(module).values()];
        const alive = records.filter(isLive);
        return {
          visible: alive.filter(({ isHidden }) => !isHidden).length,
          changedSince: records.filter(({ live, deletedMs }) => Math.max(live?.modifiedMs ?? 0, deletedMs ?? 0) >= changedSince.getTime()).length,
          inFuture: alive.filter(({ live }) => (live?.modifiedMs ?? 0) > at.getTime() + epsilonMs).length,
        };
      },
      hideUnseen: async (module, since) => {
        const unseen = [...tableOf(module).values()].filter((record) => !record.isHidden && isLive(record) && (record.live?.observedMs ?? 0) < since.getTime() - epsilonMs);
        for (const record of unseen) record.isHidden = true;
        return unseen.length;
      },
      cutFuture: async (module, latest, toleranceMs) => {
        const isFuture = (ms: number | undefined): boolean => (ms ?? Number.NEGATIVE_INFINITY) > latest.getTime() + toleranceMs;
        const cut = [...tableOf(module)].filter(([, { live, deletedMs }]) => isFuture(live?.observedMs) || isFuture(deletedMs));
        for (const [id, record] of cut) {
          if (record.live !== undefined && isFuture(record.live.observedMs)) record.live = { ...record.live, observedMs: latest.getTime() };
          if (isFuture(record.deletedMs)) record.deletedMs = latest.getTime();
          want(module, id, 'doubtful');
        }
        return cut.length;
      },
      hidden: async (module) => [...tableOf(module).values()].filter(({ isHidden }) => isHidden).length,
    },
    breaker: {
      admits: async (module, fresh) => {
        const hourAgo = now() - 3_600_000;
        const recent = [...tableOf(module).values()].filter(({ deletedMs }) => (deletedMs ?? Number.NEGATIVE_INFINITY) > hourAgo).length;
        const deletions = recent + fresh;
        const known = held.get(module);
        if (fresh === 0 || deletions <= allowedDeletions || (known?.releasedUntilMs ?? 0) > now()) return true;
        held.set(module, { deletions, heldAt: known === undefined || known.releasedUntilMs !== null ? new Date(now()) : known.heldAt, releasedUntilMs: null });
        return false;
      },
      passed: async (module) => {
        const releasedUntilMs = held.get(module)?.releasedUntilMs ?? null;
        if (releasedUntilMs === null || releasedUntilMs < now()) held.delete(module);
      },
      release: async (module) => {
        const known = held.get(module);
        if (known !== undefined) held.set(module, { ...known, releasedUntilMs: now() + 3_600_000 });
        return known !== undefined;
      },
      held: async () => [...held].flatMap(([module, { deletions, heldAt, releasedUntilMs }]) => (releasedUntilMs === null ? [{ module, heldAt, deletions, allowed: allowedDeletions }] : [])),
    },
    freshness: (module) => {
      const unsettled = [...tableOf(module.apiName).values()].filter((record) => !isSettled(at(record), epsilonMs));
      const seenUpTo = reached(module.apiName, 'changes');
      const firstUnsettledMs = Math.min(...unsettled.map(({ live, deletedMs }) => doubtSince({ modifiedMs: live?.modifiedMs, observedMs: live?.observedMs, deletedMs }, epsilonMs)));
      return {
        module: module.apiName,
        seenUpTo,
        settledUpTo: seenUpTo === null ? null : new Date(Math.min(seenUpTo.getTime(), firstUnsettledMs)),
        refreshedAt: reached(module.apiName, 'everything'),
        parked: 0,
        hidden: [...tableOf(module.apiName).values()].filter(({ isHidden }) => isHidden).length,
        unsettled: unsettled.length,
      };
    },
  };
}

const idsOf = (table: ReadonlyMap<string, MemoryRecord>, fits: (record: MemoryRecord) => boolean): string[] => [...table].flatMap(([id, record]) => (fits(record) ? [id] : []));
