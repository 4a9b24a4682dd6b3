import { coverageOf } from '@lockstep/modules';
import type { BulkPageRow, BulkRuns, CatchUps, Channels, Freshness, Incidents, LooksAside, RegisterAudits, RegisterReader, WantedLooks, Watermarks } from '@lockstep/postgres';
import { encodeConfirmed, encodeCoverage, encodeDeleted, encodeRepaired, encodeSeen } from '@lockstep/record-log';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';

import type { LoggedMessage } from '../memory/fold-messages.ts';
import { simulatedLeads } from '../modules.ts';

/** A row of the legacy table, as far as the contract looks at it. */
export type SeenRow = { readonly id: string; readonly company: string | null; readonly modifiedMs: number; readonly isDeleted: boolean };

/** Stores to be held to the contract: of the simulated Leads, whose table is empty and whose topic has one partition. */
export type StoresUnderTest = {
  readonly runs: BulkRuns;
  readonly catchUps: CatchUps;
  readonly watermarks: Watermarks;
  readonly channels: Channels;
  readonly incidents: Incidents;
  readonly register: RegisterReader;
  readonly audits: RegisterAudits;
  readonly looks: Pick<WantedLooks, 'want' | 'due' | 'done'>;
  readonly aside: LooksAside;
  /** Applies messages as one batch. */
  project(messages: readonly LoggedMessage[]): Promise<void>;
  rows(): Promise<readonly SeenRow[]>;
  freshness(): Promise<Freshness | undefined>;
  /** The topic's id, as claims name it. */
  readonly topicId: string;
  /** Empties everything. */
  clear(): Promise<void>;
  close(): Promise<void>;
};

const module = 'Leads';
const at = (clock: string): Date => new Date(`2026-05-04T${clock}Z`);
const nothing = { rows: 0, seen: 0, unhinted: 0, deleted: 0 };

/** What planner, reader and projector need of their stores, whichever they are. */
export function describeStores(name: string, epsilonMs: number, create: () => Promise<StoresUnderTest>): void {
  describe(`the stores (${name})`, () => {
    let stores: StoresUnderTest;
    beforeAll(async () => {
      stores = await create();
    });
    beforeEach(() => stores.clear());
    afterAll(() => stores.close());

    describe('the job table', () => {
      const firstPage = async (): Promise<BulkPageRow> => (await stores.runs.openPages())[0] as BulkPageRow;

      test('has one run of a module at a time, and takes its pages one after another to the end', async () => {
        const run = await stores.runs.start(module, 'initial', { expectedRows: 30 });
        expect(await stores.runs.start(module, 'refresh')).toBeNull();
        await stores.runs.requested(await firstPage(), { jobId: '1', createdTime: at('10:00:00') });
        await stores.runs.ready(await firstPage(), { count: 20, moreRecords: true, nextPageToken: 'more' });
        await stores.runs.published(await firstPage(), { rows: 20, ids: null });
        const second = await firstPage();
        expect(second).toMatchObject({ pageNumber: 2, pageToken: 'more', state: 'wanted', attempts: 0 });
        await stores.runs.requested(second, { jobId: '2', createdTime: at('10:05:00') });
        await stores.runs.ready(await firstPage(), { count: 10, moreRecords: false });
        await stores.runs.published(await firstPage(), { rows: 10, ids: null });
        expect(await stores.runs.openPages()).toEqual([]);
        expect(await stores.runs.all()).toMatchObject([{ id: run?.id, kind: 'initial', state: 'complete', expectedRows: 30, firstJobCreatedAt: at('10:00:00') }]);
        expect(await stores.runs.start(module, 'refresh')).not.toBeNull();
      });

      test('a page that is wanted again keeps the page that follows it', async () => {
        const request = async (jobId: string, clock: string): Promise<void> => {
          const counted = await stores.runs.attempt(await firstPage(), 0);
          await stores.runs.requested(counted as BulkPageRow, { jobId, createdTime: at(clock) });
        };
        await stores.runs.start(module, 'initial');
        await request('1', '10:00:00');
        await stores.runs.ready(await firstPage(), { count: 20, moreRecords: true, nextPageToken: 'more' });
        await stores.runs.wantedAgain(await firstPage(), 'damaged');
        await request('9', '10:10:00');
        await stores.runs.ready(await firstPage(), { count: 20, moreRecords: true, nextPageToken: 'other' });
        const [run] = await stores.runs.all();
        expect(run?.firstJobCreatedAt).toEqual(at('10:00:00'));
        expect((await stores.runs.pagesOf(run?.id ?? 0)).map(({ pageNumber, state, pageToken, attempts }) => [pageNumber, state, pageToken, attempts])).toEqual([
          [1, 'ready', null, 2],
          [2, 'wanted', 'more', 0],
        ]);
      });

      test('an attempt counts before its call, once; what a former attempt comes to later changes nothing', async () => {
        await stores.runs.start(module, 'initial');
        const before = await firstPage();
        const first = (await stores.runs.attempt(before, 60_000)) as BulkPageRow;
        expect(await stores.runs.attempt(before, 60_000)).toBeNull();
        expect(await firstPage()).toMatchObject({ state: 'wanted', attempts: 1, failure: null });
        expect((await firstPage()).nextAttemptAt?.getTime()).toBe(first.nextAttemptAt?.getTime());
        await stores.runs.refused(first, 'no');
        const second = (await stores.runs.attempt(await firstPage(), 60_000)) as BulkPageRow;
        await stores.runs.requested(first, { jobId: 'late', createdTime: at('10:00:00') });
        await stores.runs.ready(first, { count: 1, moreRecords: false });
        await stores.runs.published(first, { rows: 1, ids: null });
        expect(await firstPage()).toMatchObject({ state: 'wanted', attempts: 2, jobId: null, failure: 'no' });
        await stores.runs.requested(second, { jobId: '2', createdTime: at('10:01:00') });
        expect(await firstPage()).toMatchObject({ state: 'requested', attempts: 2, jobId: '2', failure: null });
        await stores.runs.wantedAgain({ ...second, jobId: '1' }, 'late');
        expect(await firstPage()).toMatchObject({ state: 'requested', jobId: '2', failure: null });
        await stores.runs.published(await firstPage(), { rows: 0, ids: null });
        await stores.runs.wantedAgain({ ...second, jobId: '2' }, 'late');
        expect(await stores.runs.openPages()).toEqual([]);
      });

      test('a run that failed has no open pages, and makes room for another', async () => {
        const run = await stores.runs.start(module, 'initial');
        await stores.runs.failed(run?.id ?? 0, 'no');
        expect(await stores.runs.openPages()).toEqual([]);
        expect(await stores.runs.all()).toMatchObject([{ state: 'failed', failure: 'no' }]);
        expect(await stores.runs.start(module, 'initial')).not.toBeNull();
      });
    });

    describe('catch-ups', () => {
      const plan = { from: at('10:00:00'), deletedFrom: at('09:59:00'), isSecondPass: true, isRestoreScan: false };
      const wanted = async () => (await stores.catchUps.open())[0]?.id ?? 0;

      test('are one at a time, and are found again by what they were', async () => {
        expect(await stores.catchUps.want(module, plan)).toBe(true);
        expect(await stores.catchUps.want(module, plan)).toBe(false);
        await stores.catchUps.read(await wanted(), at('10:02:00'), { ...nothing, seen: 3 });
        expect(await stores.catchUps.want(module, plan)).toBe(false);
        await stores.catchUps.complete(await wanted());
        await stores.catchUps.want(module, { ...plan, isSecondPass: false, isRestoreScan: true });
        await stores.catchUps.failed(await wanted(), 'away');
        const latest = await stores.catchUps.latest(module);
        expect(latest.any).toMatchObject({ state: 'failed', isRestoreScan: true });
        expect(latest.secondPass).toMatchObject({ state: 'complete', startedAt: at('10:02:00'), result: { seen: 3 } });
        expect(latest.restoreScan).toBeUndefined();
      });

      test('one that failed is not read afterwards', async () => {
        await stores.catchUps.want(module, plan);
        const id = await wanted();
        await stores.catchUps.failed(id, 'away');
        await stores.catchUps.read(id, at('10:02:00'), nothing);
        expect((await stores.catchUps.latest(module)).any).toMatchObject({ state: 'failed', startedAt: null });
      });
    });

    test('a watermark is the greatest claim of its kind, and freshness waits for the projector', async () => {
      const claim = { module, topicId: stores.topicId, endOffsets: [2] };
      await stores.watermarks.note({ ...claim, kind: 'changes', at: at('10:00:00'), endOffsets: [1] });
      await stores.watermarks.note({ ...claim, kind: 'changes', at: at('10:02:00') });
      await stores.watermarks.note({ ...claim, kind: 'everything', at: at('09:00:00') });
      expect(await stores.watermarks.current(module, 'changes')).toEqual(at('10:02:00'));
      expect(await stores.watermarks.current(module, 'everything')).toEqual(at('09:00:00'));
      expect((await stores.freshness())?.seenUpTo).toBeNull();
      await stores.project([logged(0, coverageEvent)]);
      expect(await stores.freshness()).toMatchObject({ seenUpTo: at('10:00:00'), refreshedAt: null });
      expect([await stores.watermarks.reached(module, 'changes'), await stores.watermarks.reached(module, 'everything')]).toEqual([at('10:00:00'), null]);
      await stores.project([logged(1, coverageEvent)]);
      expect(await stores.freshness()).toMatchObject({ seenUpTo: at('10:02:00'), refreshedAt: at('09:00:00') });
      expect([await stores.watermarks.reached(module, 'changes'), await stores.watermarks.reached(module, 'everything')]).toEqual([at('10:02:00'), at('09:00:00')]);
    });

    test('a channel keeps the moment it was opened first', async () => {
      const channel = { module, channelId: '1', requestedUntil: at('12:00:00'), grantedUntil: at('11:00:00'), renewAt: at('10:30:00'), enabledAt: at('10:00:00'), openedAt: at('10:00:00') };
      await stores.channels.save(channel);
      await stores.channels.save({ ...channel, enabledAt: at('10:30:00'), openedAt: at('10:30:00') });
      expect(await stores.channels.all()).toMatchObject([{ enabledAt: at('10:30:00'), openedAt: at('10:00:00') }]);
    });

    test('an incident is open once, is brought up to date, and is listed until it is closed', async () => {
      expect(await stores.incidents.open(module, 'channel-lost', 'first')).toBe(true);
      expect(await stores.incidents.open(module, 'channel-lost', 'second')).toBe(false);
      expect(await stores.incidents.list()).toMatchObject([{ module, kind: 'channel-lost', details: 'second', closedAt: null }]);
      expect(await stores.incidents.close(module, 'channel-lost')).toBe(true);
      expect(await stores.incidents.close(module, 'channel-lost')).toBe(false);
      expect(await stores.incidents.list()).toEqual([]);
      expect(await stores.incidents.list({ all: true })).toHaveLength(1);
    });

    test('a wanted look is due once, however often it is wanted, until it is done', async () => {
      await stores.looks.want(module, ['7', '8'], 'doubtful');
      await stores.looks.want(module, ['7'], 'unlisted');
      const due = (await stores.looks.due(10)).toSorted((a, b) => (a.id < b.id ? -1 : 1));
      expect(due).toEqual([{ module, id: '7', reason: 'doubtful' }, { module, id: '8', reason: 'doubtful' }]);
      await stores.looks.done(due.slice(0, 1));
      expect(await stores.looks.due(10)).toEqual([{ module, id: '8', reason: 'doubtful' }]);
    });

    test('a hint without room is due at once, one look at a time, until it is answered or its look has failed', async () => {
      const taken = async () => (await stores.aside.take(module, 10)).toSorted((a, b) => (a.id < b.id ? -1 : 1));
      await stores.aside.wait(module, ['7', '8']);
      expect(await stores.aside.take('Deals', 10)).toEqual([]);
      expect(await taken()).toEqual([{ id: '7', code: 'HINTS_BACKLOG' }, { id: '8', code: 'HINTS_BACKLOG' }]);
      expect(await taken()).toEqual([]);
      expect(await stores.aside.keep(module, [{ id: '7', code: 'CRM_REFUSED', cause: 'it fails' }])).toEqual(['7']);
      expect(await stores.aside.keep(module, [{ id: '7', code: 'CRM_REFUSED', cause: 'it fails' }])).toEqual([]);
      await stores.aside.answered(module, ['7', '8']);
      await stores.aside.wait(module, ['7']);
      expect(await taken()).toEqual([{ id: '7', code: 'HINTS_BACKLOG' }]);
    });

    describe('what the projector keeps', () => {
      const id = '5725701000000000001';

      test('knows a record by its winning version and its latest deletion', async () => {
        await stores.project([logged(0, coverageEvent), logged(1, seen(id, '10:00:00', '10:00:05', 'Ada')), logged(2, encodeDeleted({ id, deletedMs: at('10:05:00').getTime() }))]);
        expect((await stores.register.known(module, [id, '7'])).get(id)).toMatchObject({ modifiedMs: at('10:00:00').getTime(), observedMs: at('10:00:05').getTime(), deletedMs: at('10:05:00.999').getTime() });
        expect((await stores.register.known(module, ['7'])).size).toBe(0);
        expect(await stores.rows()).toEqual([{ id, company: 'Ada', modifiedMs: at('10:00:00').getTime(), isDeleted: true }]);
        expect(await stores.register.deleted(module, at('10:05:00'))).toEqual([id]);
        expect(await stores.register.deleted(module, at('10:06:00'))).toEqual([]);
      });

      test('calls a look doubtful that is within ε of the deletion', async () => {
        await stores.project([logged(0, coverageEvent), logged(1, seen(id, '09:00:00', '10:05:30', 'Ada')), logged(2, encodeDeleted({ id, deletedMs: at('10:05:00').getTime() }))]);
        expect(await stores.register.doubtful(module, at('10:00:00'), epsilonMs)).toEqual([id]);
        expect(await stores.register.doubtful(module, at('10:00:00'), 1_000)).toEqual([]);
      });

      test('calls it so no more once the list, read later than ε after it, still names the record', async () => {
        const deletion = { id, deletedMs: at('10:05:00').getTime() };
        await stores.project([logged(0, coverageEvent), logged(1, seen(id, '09:00:00', '10:04:30', 'Ada')), logged(2, encodeDeleted({ ...deletion, listedMs: at('10:05:10').getTime() }))]);
        const doubt = async (): Promise<unknown[]> => [await stores.register.doubtful(module, at('10:00:00'), epsilonMs), await stores.register.oldestDoubt(module, at('10:00:00'), epsilonMs)];
        expect(await doubt()).toEqual([[id], at('10:05:00.999')]);
        await stores.project([logged(3, encodeDeleted({ ...deletion, listedMs: at('10:08:00').getTime() }))]);
        expect(await doubt()).toEqual([[], null]);
        expect((await stores.register.known(module, [id])).get(id)).toMatchObject({ deletedMs: at('10:05:00.999').getTime(), listedMs: at('10:08:00').getTime() });
      });

      test('is settled up to the doubt itself, not to the last edit of what is in doubt', async () => {
        await stores.watermarks.note({ module, kind: 'changes', at: at('11:00:00'), topicId: stores.topicId, endOffsets: [0] });
        await stores.project([logged(0, coverageEvent), logged(1, seen(id, '02:00:00', '10:04:30', 'Ada')), logged(2, encodeDeleted({ id, deletedMs: at('10:05:00').getTime() }))]);
        expect(await stores.freshness()).toMatchObject({ seenUpTo: at('11:00:00'), settledUpTo: at('10:04:30'), unsettled: 1 });
        await stores.project([logged(3, encodeDeleted({ id, deletedMs: at('10:05:00').getTime(), listedMs: at('10:06:01').getTime() }))]);
        expect(await stores.freshness()).toMatchObject({ settledUpTo: at('11:00:00'), unsettled: 0 });
      });

      test('notes a restored record as hidden, and never a dead one; a confirmation shows the restored again, and revives no dead one', async () => {
        const [dead, restored] = ['5725701000000000002', id];
        await stores.project([
          logged(0, coverageEvent),
          ...[dead, restored].flatMap((one, i) => [logged(1 + 2 * i, seen(one, '09:00:00', '09:00:05', 'Ada')), logged(2 + 2 * i, encodeDeleted({ id: one, deletedMs: at('10:00:00').getTime() }))]),
          logged(5, seen(restored, '09:00:00', '10:30:00', 'Ada')),
        ]);
        await stores.register.hidden(module, [dead, restored]);
        expect(await stores.audits.hidden(module)).toBe(1);
        await stores.project([logged(6, confirmed(dead, '09:00:00', '11:00:00', 'Ada')), logged(7, confirmed(restored, '09:00:00', '11:00:00', 'Ada'))]);
        expect(await stores.audits.hidden(module)).toBe(0);
        expect(await stores.register.deleted(module, at('09:30:00'))).toEqual([dead]);
        expect((await stores.rows()).map(({ id: one, isDeleted }) => [one, isDeleted])).toEqual([[restored, false], [dead, true]]);
        expect(await stores.looks.due(10)).toEqual([{ module, id: dead, reason: 'unconfirmed' }]);
      });

      test('counts a record as hidden until a look sees it again', async () => {
        await stores.watermarks.note({ module, kind: 'changes', at: at('09:00:00'), topicId: stores.topicId, endOffsets: [0] });
        await stores.project([logged(0, coverageEvent), logged(1, seen(id, '10:00:00', '10:10:00', 'Ada'))]);
        await stores.register.hidden(module, [id]);
        expect(await stores.freshness()).toMatchObject({ hidden: 1, unsettled: 0 });
        await stores.project([logged(2, confirmed(id, '10:00:00', '10:20:00', 'Ada'))]);
        expect(await stores.freshness()).toMatchObject({ hidden: 0 });
      });

      test('hides what was not seen since a time, less ε, and counts what is to be seen', async () => {
        const [other, gone] = ['5725701000000000002', '5725701000000000003'];
        await stores.project([
          logged(0, coverageEvent),
          logged(1, seen(id, '10:00:00', '10:10:00', 'Ada')),
          logged(2, seen(other, '12:30:00', '10:58:59', 'Grace')),
          logged(3, seen(gone, '10:00:00', '10:10:00', 'Kay')),
          logged(4, encodeDeleted({ id: gone, deletedMs: at('10:30:00').getTime() })),
        ]);
        const count = () => stores.audits.count(module, { changedSince: at('10:30:00'), now: at('12:00:00') });
        expect(await count()).toEqual({ visible: 2, changedSince: 2, inFuture: 1 });
        expect([await stores.audits.hideUnseen(module, at('10:11:00')), await stores.audits.hidden(module)]).toEqual([0, 0]);
        expect([await stores.audits.hideUnseen(module, at('10:11:01')), await stores.audits.hidden(module)]).toEqual([1, 1]);
        expect([await stores.audits.hideUnseen(module, at('11:00:00')), await stores.audits.hidden(module)]).toEqual([1, 2]);
        expect(await count()).toEqual({ visible: 0, changedSince: 2, inFuture: 1 });
        await stores.project([logged(5, seen(id, '10:00:00', '11:00:00', 'Ada')), logged(6, encodeDeleted({ id: other, deletedMs: at('13:00:00').getTime() }))]);
        expect(await stores.audits.hidden(module)).toBe(0);
      });

      test('shows the time that a repair read, and knows the one it competes with; a confirmation of it moves the look', async () => {
        const repaired = { ...sighting(id, '10:05:00', '10:30:00', 'Ada'), versionMs: at('23:00:00').getTime() };
        await stores.project([logged(0, coverageEvent), logged(1, seen(id, '23:00:00', '10:00:00', 'Imported')), logged(2, encodeRepaired(repaired).value)]);
        expect(await stores.rows()).toEqual([{ id, company: 'Ada', modifiedMs: at('10:05:00').getTime(), isDeleted: false }]);
        await stores.project([logged(3, encodeConfirmed({ ...repaired, observedMs: at('11:00:00').getTime(), hash: encodeSeen(repaired).hash }))]);
        expect((await stores.register.known(module, [id])).get(id)).toMatchObject({ modifiedMs: at('10:05:00').getTime(), versionMs: at('23:00:00').getTime(), observedMs: at('11:00:00').getTime() });
        expect(await stores.looks.due(10)).toEqual([]);
      });

      test('wants a look where a confirmation says something newer that does not fit', async () => {
        await stores.project([logged(0, coverageEvent), logged(1, seen(id, '10:00:00', '10:00:05', 'Ada')), logged(2, confirmed(id, '10:01:00', '10:01:05', 'Grace'))]);
        expect(await stores.looks.due(10)).toEqual([{ module, id, reason: 'unconfirmed' }]);
      });
    });
  });
}

const covered = coverageOf(simulatedLeads);
const coverageEvent = encodeCoverage({ coverage: covered.id, fields: covered.fields });
const logged = (offset: number, value: string): LoggedMessage => ({ offset, value: Buffer.from(value) });
const sighting = (id: string, modified: string, observed: string, company: string) => ({ id, modifiedMs: at(modified).getTime(), observedMs: at(observed).getTime(), coverage: covered.id, fields: covered.fields.map((field) => (field === 'Company' ? company : null)) });
const seen = (...given: Parameters<typeof sighting>): string => encodeSeen(sighting(...given)).value;
const confirmed = (...given: Parameters<typeof sighting>): string => encodeConfirmed({ ...sighting(...given), hash: encodeSeen(sighting(...given)).hash });
