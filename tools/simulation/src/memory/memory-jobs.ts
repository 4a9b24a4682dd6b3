import type { BulkPageRow, BulkRunRow, BulkRuns, CatchUpResult, CatchUpRow, CatchUps, CatchUpState, ChannelRow, Channels, Claim, Watermarks } from '@lockstep/postgres';

/** A claim is at least this much older than the moment at which it is noted. */
const NOTED_AFTER_MS = 120_000;
const NOTHING: CatchUpResult = { rows: 0, seen: 0, unhinted: 0, deleted: 0 };
const isOpen = (state: CatchUpState): boolean => state === 'wanted' || state === 'read' || state === 'too-large';

/** The job table in memory. */
export function memoryBulkRuns(now: () => Date): BulkRuns & { readonly rows: () => readonly BulkRunRow[] } {
  const runs: BulkRunRow[] = [];
  const pages: BulkPageRow[] = [];
  const replace = <T extends { id: number }>(list: T[], id: number, changes: Partial<T>): void => {
    const at = list.findIndex((one) => one.id === id);
    if (at >= 0) list[at] = { ...(list[at] as T), ...changes };
  };
  const isAsRead = ({ id, attempts, jobId }: BulkPageRow): boolean => pages.some((page) => page.id === id && page.attempts === attempts && page.state !== 'published' && (typeof jobId !== 'string' || page.jobId === jobId));
  const update = (page: BulkPageRow, changes: Partial<BulkPageRow>): boolean => {
    const isSame = isAsRead(page);
    if (isSame) replace(pages, page.id, { ...changes, updatedAt: now() });
    return isSame;
  };
  const addPage = (runId: number, module: string, pageNumber: number, pageToken: string | null): void => {
    pages.push({ id: pages.length + 1, runId, module, pageNumber, pageToken, state: 'wanted', jobId: null, jobCreatedAt: null, rowCount: null, moreRecords: null, rowsPublished: 0, firstId: null, lastId: null, attempts: 0, nextAttemptAt: null, failure: null, updatedAt: now() });
  };
  const runOf = (id: number): BulkRunRow => {
    const run = runs.find((one) => one.id === id);
    if (run === undefined) throw new RangeError(`there is no run ${id}`);
    return run;
  };
  return {
    start: async (module, kind, { expectedRows = null, fromTime = null } = {}) => {
      if (runs.some((run) => run.module === module && run.state === 'running')) return null;
      const run: BulkRunRow = { id: runs.length + 1, module, kind, state: 'running', startedAt: now(), finishedAt: null, firstJobCreatedAt: null, fromTime, expectedRows, failure: null };
      runs.push(run);
      addPage(run.id, module, 1, null);
      return run;
    },
    rows: () => runs,
    all: async () => [...runs],
    pagesOf: async (runId) => pages.filter((page) => page.runId === runId).toSorted((a, b) => a.pageNumber - b.pageNumber),
    runOf: async ({ runId }) => runOf(runId),
    openPages: async () => pages.filter((page) => page.state !== 'published' && runOf(page.runId).state === 'running'),
    attempt: async (page, waitMs) => {
      const counted = { attempts: page.attempts + 1, nextAttemptAt: new Date(now().getTime() + waitMs), updatedAt: now() };
      if (!isAsRead(page) || pages.find(({ id }) => id === page.id)?.state !== 'wanted') return null;
      replace(pages, page.id, counted);
      return { ...page, ...counted };
    },
    refused: async (page, failure) => void update(page, { failure }),
    requested: async (page, { jobId, createdTime }) => {
      if (!update(page, { state: 'requested', jobId, jobCreatedAt: createdTime, failure: null })) return;
      if (page.pageNumber === 1 && runOf(page.runId).firstJobCreatedAt === null) replace(runs, page.runId, { firstJobCreatedAt: createdTime });
    },
    ready: async (page, { count, moreRecords, nextPageToken }) => {
      if (!update(page, { state: 'ready', rowCount: count, moreRecords, failure: null })) return;
      const isKnown = pages.some(({ runId, pageNumber }) => runId === page.runId && pageNumber === page.pageNumber + 1);
      if (moreRecords && !isKnown) addPage(page.runId, page.module, page.pageNumber + 1, nextPageToken ?? null);
    },
    wantedAgain: async (page, failure) => void update(page, { state: 'wanted', jobId: null, jobCreatedAt: null, rowsPublished: 0, firstId: null, lastId: null, failure }),
    progress: async (page, rowsPublished) => void update(page, { rowsPublished }),
    published: async (page, { rows, ids }) => {
      if (!isAsRead({ ...page, jobId: null })) return;
      replace(pages, page.id, { state: 'published', rowsPublished: rows, firstId: ids?.first ?? null, lastId: ids?.last ?? null, failure: null, updatedAt: now() });
      const chain = pages.filter(({ runId }) => runId === page.runId);
      const isWhole = chain.some(({ moreRecords }) => moreRecords === false) && chain.every(({ state }) => state === 'published');
      if (isWhole && runOf(page.runId).state === 'running') replace(runs, page.runId, { state: 'complete', finishedAt: now() });
    },
    cutFuture: async (module, at, toleranceMs) => {
      const isFuture = (createdAt: Date | null | undefined): boolean => (createdAt?.getTime() ?? Number.NEGATIVE_INFINITY) > at.getTime() + toleranceMs;
      const beganAt = (runId: number): Date => new Date(at.getTime() - Math.max(0, now().getTime() - runOf(runId).startedAt.getTime()));
      for (const page of pages) if (page.module === module && isFuture(page.jobCreatedAt)) replace(pages, page.id, { jobCreatedAt: beganAt(page.runId) });
      const cut = runs.filter((run) => run.module === module && isFuture(run.firstJobCreatedAt));
      for (const { id } of cut) replace(runs, id, { firstJobCreatedAt: beganAt(id) });
      return cut.length;
    },
    failed: async (runId, failure) => {
      if (runOf(runId).state === 'running') replace(runs, runId, { state: 'failed', finishedAt: now(), failure });
    },
  };
}

/** Catch-ups in memory. */
export function memoryCatchUps(now: () => Date): CatchUps & { readonly rows: () => readonly CatchUpRow[] } {
  const rows: CatchUpRow[] = [];
  const failures = new Map<number, string>();
  const change = (id: number, changes: Partial<CatchUpRow>, from?: readonly CatchUpState[]): void => {
    const row = rows[id - 1];
    if (row !== undefined && (from === undefined || from.includes(row.state))) rows[id - 1] = { ...row, ...changes };
  };
  const last = (module: string, fits: (row: CatchUpRow) => boolean): CatchUpRow | undefined => rows.findLast((row) => row.module === module && fits(row));
  return {
    rows: () => rows,
    want: async (module, { from, deletedFrom, isSecondPass, isRestoreScan, scanFrom = null }) => {
      if (rows.some((row) => row.module === module && isOpen(row.state))) return false;
      rows.push({ id: rows.length + 1, module, state: 'wanted', from, deletedFrom, isSecondPass, isRestoreScan, scanFrom, scannedFrom: null, scanFailure: null, wantedAt: now(), startedAt: null, readUpTo: null, bulkRunId: null, result: NOTHING });
      return true;
    },
    open: async () => rows.filter(({ state }) => isOpen(state)),
    latest: async (module) => {
      const isWhole = ({ scanFrom, scannedFrom }: CatchUpRow): boolean => scanFrom === null || (scannedFrom !== null && scannedFrom <= scanFrom);
      const [any, secondPass] = [last(module, () => true), last(module, (row) => row.isSecondPass && row.state === 'complete')];
      const [restoreScan, scanTried, scanned] = [last(module, (row) => row.isRestoreScan && row.state === 'complete' && isWhole(row)), last(module, (row) => row.isRestoreScan), last(module, (row) => row.scannedFrom !== null || row.scanFailure !== null)];
      return { ...(any && { any }), ...(secondPass && { secondPass }), ...(restoreScan && { restoreScan }), ...(scanTried && { scanTried }), ...(scanned && { scanned }) };
    },
    failing: async (module) => {
      const completeId = last(module, ({ state }) => state === 'complete')?.id ?? 0;
      const failed = rows.filter((row) => row.id > completeId && row.module === module && row.state === 'failed');
      return { failures: failed.length, cause: failures.get(failed.at(-1)?.id ?? 0) ?? null };
    },
    readSince: async (module, since) => rows.filter((row) => row.module === module && row.wantedAt >= since && row.state !== 'wanted' && row.state !== 'failed'),
    read: async (id, startedAt, result) => change(id, { state: 'read', startedAt, result }, ['wanted']),
    tooLarge: async (id, startedAt, result, readUpTo = null) => change(id, { state: 'too-large', startedAt, result, readUpTo }, ['wanted']),
    scanned: async (id, scannedFrom, scanFailure) => change(id, { scannedFrom, scanFailure }),
    continuedBy: async (id, bulkRunId) => {
      if (rows[id - 1]?.bulkRunId === null) change(id, { bulkRunId });
    },
    complete: async (id) => change(id, { state: 'complete' }, ['read', 'too-large']),
    failed: async (id, failure) => {
      failures.set(id, failure);
      change(id, { state: 'failed' }, ['wanted', 'read', 'too-large']);
    },
  };
}

/** Channels in memory. */
export function memoryChannels(): Channels {
  const rows = new Map<string, ChannelRow>();
  return {
    all: async () => [...rows.values()],
    save: async (channel) => void rows.set(channel.module, { ...channel, openedAt: rows.get(channel.module)?.openedAt ?? channel.openedAt }),
  };
}

/** Claims in memory; how far they are reached, the tables know. */
export function memoryWatermarks(now: () => Date): Omit<Watermarks, 'reached'> & { readonly claims: (module: string, kind: Claim['kind']) => readonly Claim[] } {
  let claims: (Claim & { readonly notedAt: Date })[] = [];
  const of = (module: string, kind: Claim['kind']): readonly Claim[] => claims.filter((claim) => claim.module === module && claim.kind === kind).toSorted((a, b) => b.at.getTime() - a.at.getTime());
  return {
    claims: of,
    current: async (module, kind) => of(module, kind)[0]?.at ?? null,
    note: async (claim) => {
      const isKnown = claims.some(({ module, kind, at }) => module === claim.module && kind === claim.kind && at.getTime() === claim.at.getTime());
      if (!isKnown) claims.push({ ...claim, notedAt: now() });
    },
    withdrawFuture: async (module, at, toleranceMs) => {
      const future = claims.filter((claim) => claim.module === module && claim.at.getTime() > at.getTime() + toleranceMs);
      if (future.length === 0) return [];
      const agoMs = now().getTime() - Math.max(...future.map(({ notedAt }) => notedAt.getTime()));
      const isBelieved = (claim: Claim): boolean => claim.module !== module || claim.at.getTime() <= at.getTime() - Math.max(0, agoMs) - NOTED_AFTER_MS;
      const withdrawn = claims.filter((claim) => !isBelieved(claim)).toSorted((a, b) => b.at.getTime() - a.at.getTime());
      claims = claims.filter(isBelieved);
      return withdrawn.map(({ kind, at: claimedAt }) => ({ kind, at: claimedAt }));
    },
  };
}
