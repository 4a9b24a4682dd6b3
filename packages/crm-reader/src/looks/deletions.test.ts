import { STALE_AT_MOST_MS } from '@lockstep/completeness';
import type { DeletedRecord } from '@lockstep/crm-client';
import { leads } from '@lockstep/modules';
import { decodeEvent, fold, type Observation, type RecordEvent } from '@lockstep/record-log';
import { createLogger, createMetrics, realTime } from '@lockstep/telemetry';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';

import type { DeadLetter } from '../dead-letters.ts';
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
let letters: DeadLetter[];
/** When the list is read, and what the register has besides what was published. */
let readAt: number;
let observedMs: number;
let contentMs: number | null;

beforeEach(() => {
  stopping = new AbortController();
  [lists, asked, events, believed, wanted, letters, readAt, observedMs, contentMs] = [[], [], [], 100, [], [], now, 1, null];
  deletions = new Deletions({
    module: leads,
    log,
    metrics: createReaderMetrics(createMetrics({ app: 'test' })),
    signal: stopping.signal,
    intervalMs: 1,
    epsilonMs: 60_000,
    time: { ...realTime, now: () => now },
    crm: {
      time: () => ({ earliestMs: now, latestMs: now, stampedUpToMs: now, isFirm: true }),
      deletedSince: async (_, since) => {
        asked.push(since);
        return { deletions: lists.shift() ?? [], observed: { lowerMs: readAt, upperMs: readAt + 50 } };
      },
    },
    // As if everything published were applied at once.
    register: {
      known: async (_, ids) => new Map(ids.map((id) => [id, { modifiedMs: 1, observedMs, hash: 'a', ...deletionOf(id) }])),
      parked: async (_, ids) => new Map(ids.map((id) => [id, { deletedMs: null, contentMs }])),
    },
    breaker: { admits: async (_, fresh) => fresh <= believed },
    referrers: { to: async (_, ids) => (ids.includes('7') ? [{ module: 'Deals', ids: ['70', '71'] }] : []) },
    deadLetters: { put: async (some) => void letters.push(...some) },
    looks: { want: async (module, ids, reason) => void wanted.push([module, ...ids, reason]) },
    producer: { send: async (_topic, messages) => void events.push(...[...messages].map(({ value }) => decodeEvent(String(value)))) },
  });
});
afterEach(async () => {
  stopping.abort();
  await deletions.running;
});

/** What the register has of the deletions that were published. */
function deletionOf(id: string): { deletedMs: number | null; listedMs: number | null } {
  const { deletedMs = null, listedMs = null } = fold(events.filter((event) => event.type === 'RecordDeleted' && event.id === id) as Observation[]);
  return { deletedMs, listedMs };
}

/** Resolves once the hint is answered. */
const hinted = (id: string, receivedMs = now): Promise<void> =>
  new Promise((answered) => {
    deletions.add({ hint: { module: 'Leads', id, operation: 'delete', channelId: '1', serverTimeMs: null, receivedMs }, name: 'hint of delete 0/0', answered });
  });
const listed = (id: string, deletedTime = '2026-05-04T17:29:58+05:30'): DeletedRecord => ({ id, deletedTime });

describe('a delete hint', () => {
  test('starts the reading of the list; what the list says becomes RecordDeleted, whether it was hinted or not', async () => {
    lists.push([listed('7'), listed('8')]);
    await hinted('7');
    expect(events).toEqual(['7', '8'].map((id) => ({ type: 'RecordDeleted', id, deletedMs: Date.parse('2026-05-04T11:59:58Z'), listedMs: now })));
  });

  test.each([['yesterday', '8'], ['2026-05-04T11:59:60Z', '8'], ['2026-05-04T11:59:58', '8'], ['2026-05-04T11:59:58Z', '007'], ['2026-05-04T11:59:58Z', 'x']])('is answered beside an entry that cannot be read (%s, id %s), which is kept aside', async (time, id) => {
    lists.push([listed(id, time), listed('7')]);
    await hinted('7');
    expect(events.map((event) => ('id' in event ? event.id : ''))).toEqual(['7']);
    expect(letters).toMatchObject([{ source: 'deleted-list', position: { module: 'Leads' } }]);
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

  test('makes a look wanted at the records that point to the deleted one: a merge may have changed them without a notification', async () => {
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

  describe('of a deletion that is known', () => {
    const deletedMs = Date.parse('2026-05-04T11:59:58Z');
    const listings = (): unknown[] => events.map((event) => ('listedMs' in event ? event.listedMs : null));

    /** The list is read at these times after the deletion's last millisecond, and names the record each time. */
    async function readAfter(...ms: number[]): Promise<void> {
      for (const after of ms) {
        readAt = deletedMs + 999 + after;
        lists.push([listed('7')]);
        await hinted('7');
      }
    }

    test('publishes it again, once, where a look was close to it and the list is read late enough', async () => {
      observedMs = deletedMs - 20_000;
      await readAfter(1_000, 60_000, 60_001, 70_000, 120_000);
      expect(listings()).toEqual([1_000, 60_001].map((after) => deletedMs + 999 + after));
      expect(fold(events as Observation[])).toMatchObject({ deletedMs: deletedMs + 999, listedMs: deletedMs + 61_000 });
    });

    test('publishes it again where the look came after it', async () => {
      observedMs = deletedMs + 30_000;
      await readAfter(1_000, 60_001);
      expect(events).toHaveLength(2);
    });

    test('publishes nothing again where no look was close, or the record was seen alive since', async () => {
      for (const observed of [deletedMs - 60_000, deletedMs + 61_000]) {
        [events.length, observedMs] = [0, observed];
        await readAfter(1_000, 60_001, 120_000);
        expect(events).toHaveLength(1);
      }
    });

    test('publishes it once where it is first read late enough, whatever looks come afterwards', async () => {
      await readAfter(60_001);
      observedMs = deletedMs;
      await readAfter(180_000);
      expect(events).toHaveLength(1);
    });

    test('an entry of an earlier deletion says nothing about a later one in doubt, unless it is read later than any read can lag', async () => {
      observedMs = deletedMs + 3_600_000;
      await readAfter(1_000);
      lists.push([listed('7', '2026-05-04T13:00:00Z')]);
      await hinted('7');
      await readAfter(3_602_000 + STALE_AT_MOST_MS);
      expect(events).toHaveLength(2);
      await readAfter(3_602_000 + STALE_AT_MOST_MS + 1);
      expect(listings().at(-1)).toBe(readAt);
      expect(fold(events as Observation[])).toMatchObject({ deletedMs: Date.parse('2026-05-04T13:00:00.999Z') });
    });

    test('publishes it again, once, where a content is parked that seems to be the later one', async () => {
      observedMs = deletedMs - 600_000;
      contentMs = deletedMs + 3_600_000;
      await readAfter(1_000, 3_650_000, 3_660_001, 3_700_000);
      expect(listings()).toEqual([1_000, 3_660_001].map((after) => deletedMs + 999 + after));
    });

    test('counts as no further deletion for the breaker, and wants no look at what points to it', async () => {
      observedMs = deletedMs;
      await readAfter(1_000);
      [believed, wanted] = [0, []];
      await readAfter(60_001);
      expect([events.length, wanted]).toEqual([2, []]);
    });
  });
});
