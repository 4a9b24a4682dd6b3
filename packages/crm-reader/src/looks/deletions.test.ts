import type { DeletedRecord } from '@lockstep/crm-client';
import { leads } from '@lockstep/modules';
import { decodeEvent, type RecordEvent } from '@lockstep/record-log';
import { createLogger, createMetrics, realTime } from '@lockstep/telemetry';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';

import { createReaderMetrics } from '../metrics.ts';
import { Deletions } from './deletions.ts';

const log = createLogger({ app: 'test', level: 'silent', isPretty: false });
const now = Date.parse('2026-05-04T12:00:00Z');

let stopping: AbortController;
let lists: DeletedRecord[][];
let asked: Date[];
let events: RecordEvent[];
let deletions: Deletions;
let believed: number;
let wanted: string[][];

beforeEach(() => {
  stopping = new AbortController();
  [lists, asked, events, believed, wanted] = [[], [], [], 100, []];
  deletions = new Deletions({
    module: leads,
    log,
    metrics: createReaderMetrics(createMetrics({ app: 'test' })),
    signal: stopping.signal,
    intervalMs: 1,
    time: { ...realTime, now: () => now },
    crm: {
      deletedSince: async (_, since) => {
        asked.push(since);
        return lists.shift() ?? [];
      },
    },
    // As if everything published were applied at once.
    register: {
      known: async (_, ids) => new Map(ids.map((id) => [id, { modifiedMs: 1, observedMs: 1, hash: 'a', deletedMs: deletionOf(id) }])),
    },
    breaker: { admits: async (_, fresh) => fresh <= believed },
    referrers: { to: async (_, ids) => (ids.includes('7') ? [{ module: 'Deals', ids: ['70', '71'] }] : []) },
    looks: { want: async (module, ids, reason) => void wanted.push([module, ...ids, reason]) },
    producer: { send: async (_topic, messages) => void events.push(...[...messages].map(({ value }) => decodeEvent(String(value)))) },
  });
});
afterEach(async () => {
  stopping.abort();
  await deletions.running;
});

/** The upper bound that the register has of what was published. */
function deletionOf(id: string): number | null {
  const published = events.flatMap((event) => (event.type === 'RecordDeleted' && event.id === id ? [event.deletedMs + 999] : []));
  return published.length === 0 ? null : Math.max(...published);
}

/** Resolves once the hint is answered. */
const hinted = (id: string, receivedMs = now): Promise<void> =>
  new Promise((answered) => {
    deletions.add({ hint: { module: 'Leads', id, operation: 'delete', channelId: '1', serverTimeMs: null, receivedMs }, answered });
  });
const listed = (id: string, deletedTime = '2026-05-04T17:29:58+05:30'): DeletedRecord => ({ id, deletedTime });

describe('a delete hint', () => {
  test('pokes the reading of the list; what the list says becomes RecordDeleted, whether it was hinted or not', async () => {
    lists.push([listed('7'), listed('8')]);
    await hinted('7');
    expect(events).toEqual(['7', '8'].map((id) => ({ type: 'RecordDeleted', id, deletedMs: Date.parse('2026-05-04T11:59:58Z') })));
  });

  test('whose record is not listed yet is read for again', async () => {
    lists.push([], [listed('9')], [listed('7'), listed('9')]);
    await hinted('7');
    expect(asked).toHaveLength(3);
    expect(events.map((event) => ('id' in event ? event.id : ''))).toEqual(['9', '7']);
  });

  test('whose record is never listed removes nothing', async () => {
    await hinted('7');
    expect(events).toEqual([]);
    expect(asked.length).toBeGreaterThan(1);
  });

  test('that comes with more deletions than are believed publishes none of them', async () => {
    believed = 2;
    lists.push([listed('7'), listed('8'), listed('9')]);
    await hinted('7');
    expect([events, wanted]).toEqual([[], []]);
  });

  test('makes a look wanted at the records that point to the deleted one: a merge may have changed them and told nobody', async () => {
    lists.push([listed('7'), listed('8')]);
    await hinted('7');
    expect(wanted).toEqual([['Deals', '70', '71', 'referrer']]);
  });

  test('reads from ten minutes before the earliest hint that waits', async () => {
    lists.push([listed('7'), listed('8')]);
    await Promise.all([hinted('7', now - 60_000), hinted('8')]);
    expect(asked[0]).toEqual(new Date(now - 11 * 60_000));
  });

  test('a record that was deleted, restored and deleted again is published twice', async () => {
    lists.push([listed('7')], [listed('7', '2026-05-04T12:00:30Z')]);
    await hinted('7');
    await hinted('7');
    expect(events).toHaveLength(2);
  });
});
