import type { ModuleDefinition } from '@lockstep/modules';
import type { DeletionBreaker, Freshness, Referrers, RegisterAudits, RegisterEntry, RegisterReader, WantedLook, WantedLooks, Watermarks } from '@lockstep/postgres';
import { doubtSince, isAlive, isSettled } from '@lockstep/record-log';

import { memoryBreaker } from './memory-breaker.ts';
import { MemoryDatabase, type RowRefusal } from './memory-database.ts';
import type { memoryWatermarks } from './memory-jobs.ts';
import { MemoryProjection, type MemoryProjectionOptions } from './memory-projection.ts';
import type { MemoryRecord, TableRules } from './memory-table.ts';
import type { ParkedMessage } from './parked-messages.ts';

export type MemoryTables = {
  readonly register: RegisterReader;
  readonly referrers: Referrers;
  readonly audits: RegisterAudits;
  readonly watermarks: Watermarks;
  readonly looks: WantedLooks;
  readonly breaker: DeletionBreaker;
  readonly projection: MemoryProjection;
  /** Whether a reader of the legacy table sees the record as one that exists. */
  isShown(module: string, id: string): boolean;
  /** Whether the record has a row, even one marked as deleted. */
  hasRow(module: string, id: string): boolean;
  record(module: string, id: string): MemoryRecord | undefined;
  records(module: string): ReadonlyMap<string, MemoryRecord>;
  freshness(module: ModuleDefinition): Freshness;
  /** Changes a register past the log, as a defect does. */
  damage(module: string, id: string, change: (record: MemoryRecord) => MemoryRecord): void;
};

export type MemoryTablesOptions = {
  readonly now: () => number;
  readonly epsilonMs: number;
  readonly modules: readonly ModuleDefinition[];
  readonly rules?: Readonly<Record<string, TableRules>>;
  readonly watermarks: ReturnType<typeof memoryWatermarks>;
  readonly allowedDeletions?: number;
  readonly retryAtMostMs?: number;
  readonly refusal?: RowRefusal;
  readonly onParked?: (parked: ParkedMessage) => void;
  readonly onAdvanced?: MemoryProjectionOptions['onAdvanced'];
};

/** Register, rows, positions, looks and what is parked, in memory: what the projector keeps in Postgres, by the same rules. */
export function memoryTables({ now, epsilonMs, modules, rules = {}, watermarks, allowedDeletions = Number.POSITIVE_INFINITY, retryAtMostMs = 1_800_000, onParked, onAdvanced, refusal }: MemoryTablesOptions): MemoryTables {
  const database = new MemoryDatabase(modules, rules, epsilonMs, refusal);
  const wanted = new Map<string, WantedLook>();
  const want: WantedLooks['want'] = async (module, ids, reason) => {
    for (const id of ids) if (!wanted.has(`${module}/${id}`)) wanted.set(`${module}/${id}`, { module, id, reason });
  };
  const projection = new MemoryProjection({ database, now, epsilonMs, retryAtMostMs, onUnconfirmed: (module, id) => void want(module, [id], 'unconfirmed'), ...(onParked && { onParked }), ...(onAdvanced && { onAdvanced }) });
  const recordsOf = (module: string): ReadonlyMap<string, MemoryRecord> => database.table(module).records;
  const reached = (module: string, kind: 'changes' | 'everything'): Date | null => watermarks.claims(module, kind).find(({ endOffsets }) => endOffsets.every((end, partition) => projection.next(module, partition) >= end))?.at ?? null;
  return {
    projection,
    isShown: (module, id) => {
      const record = recordsOf(module).get(id);
      return record !== undefined && database.table(module).hasRow(record) && database.table(module).isAlive(record);
    },
    hasRow: (module, id) => database.table(module).hasRow(recordsOf(module).get(id)),
    record: (module, id) => recordsOf(module).get(id),
    records: recordsOf,
    register: memoryRegister(database, projection),
    audits: memoryAudits({ database, projection, epsilonMs, want }),
    breaker: memoryBreaker({ now, allowedDeletions, deletionsSince: (module, sinceMs) => deletedSince(database, projection, module, sinceMs).size }),
    referrers: {
      to: async (module, ids) => [...database.tables].flatMap((table) => {
        const { apiName } = table.module;
        const pointing = new Set(ids.flatMap((id) => [...table.pointingTo(module, id), ...(table.refersTo(module) ? projection.waitingFor(apiName, id) : [])]));
        return pointing.size === 0 ? [] : [{ module: apiName, ids: [...pointing] }];
      }),
    },
    looks: {
      want,
      resolveOvertaken: async () => projection.resolveOvertaken(),
      due: async (limit) => [...wanted.values()].slice(0, limit),
      done: async (looks) => {
        for (const { module, id } of looks) wanted.delete(`${module}/${id}`);
      },
    },
    watermarks: { ...watermarks, reached: async (module, kind) => reached(module, kind) },
    freshness: ({ apiName: module }) => {
      const records = [...recordsOf(module).values()];
      const unsettled = records.filter((record) => !isSettled(record, epsilonMs));
      const seenUpTo = reached(module, 'changes');
      const firstUnsettledMs = Math.min(...unsettled.map(({ live, deletedMs }) => doubtSince({ modifiedMs: live?.modifiedMs, observedMs: live?.observedMs, deletedMs }, epsilonMs)));
      return {
        module,
        seenUpTo,
        settledUpTo: seenUpTo === null ? null : new Date(Math.min(seenUpTo.getTime(), firstUnsettledMs)),
        refreshedAt: reached(module, 'everything'),
        parked: projection.parked(module).length,
        hidden: records.filter(({ isHidden }) => isHidden).length,
        unsettled: unsettled.length,
        pausedSince: null,
        verifiedAt: null,
        differences: null, keptAside: 0, deadLetters: 0, missingFields: 0, coarserBecause: null,
      };
    },
    damage: (module, id, change) => {
      const record = recordsOf(module).get(id);
      if (record !== undefined) database.transaction(() => database.table(module).put(id, change(record)));
    },
  };
}

/** Records with a deletion since a time, that was applied or still waits. */
const deletedSince = (database: MemoryDatabase, projection: MemoryProjection, module: string, sinceMs: number): ReadonlySet<string> => {
  const isSince = ({ deletedMs }: { readonly deletedMs?: number }): boolean => (deletedMs ?? Number.NEGATIVE_INFINITY) > sinceMs;
  const applied = [...database.table(module).records].flatMap(([id, record]) => (isSince(record) ? [id] : []));
  return new Set([...applied, ...projection.parked(module).flatMap(({ id, register }) => (isSince(register) ? [id] : []))]);
};

/** Whether the record counts as deleted, and may have been restored before it was seen last. */
const isDoubtfulDeath = (record: MemoryRecord, doubtMs: number): boolean => record.deletedMs !== undefined && !isAlive(record, doubtMs) && !isSettled(record, doubtMs);

function memoryRegister(database: MemoryDatabase, projection: MemoryProjection): RegisterReader {
  const idsOf = (module: string, fits: (record: MemoryRecord) => boolean): string[] => [...database.table(module).records].flatMap(([id, record]) => (fits(record) ? [id] : []));
  return {
    known: async (module, ids) => {
      const known = new Map<string, RegisterEntry>();
      for (const id of ids) {
        const record = database.table(module).records.get(id);
        if (record !== undefined) known.set(id, { modifiedMs: record.live?.modifiedMs ?? null, ...(record.live?.versionMs === undefined ? {} : { versionMs: record.live.versionMs }), observedMs: record.live?.observedMs ?? null, hash: record.live?.hash ?? null, deletedMs: record.deletedMs ?? null, listedMs: record.listedMs ?? null });
      }
      return known;
    },
    parked: async (module, ids) => new Map(ids.map((id) => [id, projection.parkedOf(module, id)])),
    hidden: async (module, ids) => {
      const table = database.table(module);
      for (const id of ids) {
        const record = table.records.get(id);
        if (record !== undefined && table.isAlive(record)) database.transaction(() => table.put(id, { ...record, isHidden: true }));
      }
    },
    deleted: async (module, since) => idsOf(module, (record) => (record.deletedMs ?? Number.NEGATIVE_INFINITY) >= since.getTime() && !database.table(module).isAlive(record)),
    doubtful: async (module, since, doubtMs) => idsOf(module, (record) => (record.deletedMs ?? Number.NEGATIVE_INFINITY) >= since.getTime() && isDoubtfulDeath(record, doubtMs)),
    oldestDoubt: async (module, since, doubtMs) => {
      const deletions = [...database.table(module).records.values()].flatMap((record) => (record.deletedMs !== undefined && record.deletedMs >= since.getTime() && isDoubtfulDeath(record, doubtMs) ? [record.deletedMs] : []));
      return deletions.length === 0 ? null : new Date(Math.min(...deletions));
    },
  };
}

type AuditDeps = { readonly database: MemoryDatabase; readonly projection: MemoryProjection; readonly epsilonMs: number; readonly want: WantedLooks['want'] };

function memoryAudits({ database, projection, epsilonMs, want }: AuditDeps): RegisterAudits {
  return {
    count: async (module, { changedSince, now: at }) => {
      const table = database.table(module);
      const records = [...table.records.values()];
      const alive = records.filter((record) => table.isAlive(record));
      return {
        visible: alive.filter(({ isHidden }) => !isHidden).length,
        changedSince: records.filter(({ live, deletedMs }) => Math.max(live?.modifiedMs ?? 0, deletedMs ?? 0) >= changedSince.getTime()).length,
        inFuture: alive.filter(({ live }) => (live?.modifiedMs ?? 0) > at.getTime() + epsilonMs).length,
      };
    },
    hideUnseen: async (module, since) => {
      const table = database.table(module);
      const parked = new Set(projection.parked(module).map(({ id }) => id));
      const unseen = [...table.records].filter(([id, record]) => !record.isHidden && !parked.has(id) && table.isAlive(record) && (record.live?.observedMs ?? 0) < since.getTime() - epsilonMs);
      database.transaction(() => {
        for (const [id, record] of unseen) table.put(id, { ...record, isHidden: true });
      });
      return unseen.length;
    },
    cutFuture: async (module, latest, toleranceMs) => {
      const table = database.table(module);
      const isFuture = (ms: number | undefined): boolean => (ms ?? Number.NEGATIVE_INFINITY) > latest.getTime() + toleranceMs;
      const cut = [...table.records].filter(([, { live, deletedMs, listedMs }]) => isFuture(live?.observedMs) || isFuture(deletedMs) || isFuture(listedMs));
      database.transaction(() => {
        for (const [id, { listedMs, ...record }] of cut) {
          const live = record.live !== undefined && isFuture(record.live.observedMs) ? { ...record.live, observedMs: latest.getTime() } : record.live;
          const deletedMs = isFuture(record.deletedMs) ? latest.getTime() : record.deletedMs;
          table.put(id, { ...record, ...(live && { live }), ...(deletedMs === undefined ? {} : { deletedMs }), ...(listedMs === undefined || isFuture(listedMs) ? {} : { listedMs }) });
        }
      });
      await want(module, cut.map(([id]) => id), 'doubtful');
      return cut.length + projection.cutFutureParked(module, latest.getTime(), isFuture);
    },
    hidden: async (module) => [...database.table(module).records.values()].filter(({ isHidden }) => isHidden).length,
  };
}
