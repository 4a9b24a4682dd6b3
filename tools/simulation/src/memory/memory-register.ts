import type { ModuleDefinition } from '@lockstep/modules';
import type { Claim, DeletionBreaker, Freshness, LookReason, RegisterAudits, RegisterEntry, RegisterReader, WantedLook, WantedLooks, Watermarks } from '@lockstep/postgres';
import { compareVersions, type Content, decodeEvent, isAlive, isSettled, type RecordConfirmed, type Version, versionTime } from '@lockstep/record-log';

import type { memoryWatermarks } from './memory-jobs.ts';

/** A record's register and what stands in its row. */
export type MemoryRecord = { live: Version | undefined; content: Content | undefined; deletedMs: number | undefined; isHidden: boolean };

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
  const at = ({ live, deletedMs }: MemoryRecord) => ({ ...(live && { live }), ...(deletedMs === undefined ? {} : { deletedMs }) });

  const isLive = (record: MemoryRecord): boolean => isAlive(at(record), epsilonMs);
  const nextOf = (module: string, partition: number): number => positions.get(`${module}/${partition}`) ?? 0;
  const reached = (module: string, kind: Claim['kind']): Date | null => watermarks.claims(module, kind).find(({ endOffsets }) => endOffsets.every((end, partition) => nextOf(module, partition) >= end))?.at ?? null;

  const confirm = (module: string, confirmed: RecordConfirmed): void => {
    const record = tableOf(module).get(confirmed.id);
    const live = record?.live;
    if (live !== undefined && compareVersions(confirmed, live) <= 0) return;
    const fits = record !== undefined && live !== undefined && live.modifiedMs === confirmed.modifiedMs && versionTime(live) === versionTime(confirmed) && live.hash === confirmed.hash;
    // It has no content to write, so it may not change whether the record is alive.
    if (fits && isAlive(at(record), epsilonMs) === isAlive({ ...at(record), live: confirmed }, epsilonMs)) {
      record.live = versionOf(confirmed);
      record.isHidden = false;
    } else if (live === undefined || versionTime(confirmed) > versionTime(live) || (versionTime(confirmed) === versionTime(live) && confirmed.observedMs > live.observedMs)) {
      want(module, confirmed.id, 'unconfirmed');
    }
  };
  const apply = (module: string, { value }: LoggedMessage, confirmations: RecordConfirmed[]): void => {
    const event = decodeEvent(value ?? '');
    if (event.type === 'CoverageDeclared') return;
    if (event.type === 'RecordConfirmed') return void confirmations.push(event);
    const record: MemoryRecord = tableOf(module).get(event.id) ?? { live: undefined, content: undefined, deletedMs: undefined, isHidden: false };
    tableOf(module).set(event.id, record);
    if (event.type === 'RecordDeleted') {
      if (event.deletedMs + 999 <= (record.deletedMs ?? Number.NEGATIVE_INFINITY)) return;
      record.deletedMs = event.deletedMs + 999;
      record.isHidden = false;
    } else if (record.live === undefined || compareVersions(event, record.live) > 0) {
      record.live = versionOf(event);
      record.content = { coverage: event.coverage, fields: event.fields };
      record.isHidden = false;
    }
  };

  return {
    project: (module, partition, messages) => {
      const confirmations: RecordConfirmed[] = [];
      for (const message of messages) apply(module.apiName, message, confirmations);
      for (const [, ofRecord] of Map.groupBy(confirmations, ({ id }) => id)) {
        const latest = ofRecord.toSorted((a, b) => versionTime(b) - versionTime(a) || b.observedMs - a.observedMs)[0];
        if (latest !== undefined) confirm(module.apiName, latest);
      }
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
          if (record !== undefined) known.set(id, { modifiedMs: record.live?.modifiedMs ?? null, ...(record.live?.versionMs === undefined ? {} : { versionMs: record.live.versionMs }), observedMs: record.live?.observedMs ?? null, hash: record.live?.hash ?? null, deletedMs: record.deletedMs ?? null });
        }
        return known;
      },
      hidden: async (module, ids) => {
        for (const id of ids) {
          const record = tableOf(module).get(id);
          if (record !== undefined && record.deletedMs === undefined) record.isHidden = true;
        }
      },
      deleted: async (module, since) => idsOf(tableOf(module), (record) => (record.deletedMs ?? Number.NEGATIVE_INFINITY) >= since.getTime() && !isAlive(at(record), epsilonMs)),
      doubtful: async (module, since, doubtMs) =>
        idsOf(tableOf(module), ({ live, deletedMs }) => live !== undefined && deletedMs !== undefined && deletedMs >= since.getTime() && Math.abs(live.observedMs - deletedMs) <= doubtMs),
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
      const unsettled = [...tableOf(module.apiName).values()].filter((record) => record.live !== undefined && !isSettled(at(record), epsilonMs));
      const seenUpTo = reached(module.apiName, 'changes');
      const firstUnsettledMs = Math.min(...unsettled.map(({ live, deletedMs }) => Math.min(live?.modifiedMs ?? Number.POSITIVE_INFINITY, deletedMs ?? Number.POSITIVE_INFINITY)));
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

const versionOf = ({ modifiedMs, versionMs, observedMs, hash }: Version): Version => ({ modifiedMs, observedMs, hash, ...(versionMs === undefined ? {} : { versionMs }) });
