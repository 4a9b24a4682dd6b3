import { CrmError } from '@lockstep/crm-client';
import { leads } from '@lockstep/modules';
import { createLogger } from '@lockstep/telemetry';
import { expect, test } from 'vitest';

import { type ReadList, scanDeletions } from './scan-deletions.ts';

const DAY_MS = 86_400_000;
const log = createLogger({ app: 'test', level: 'silent', isPretty: false });
const now = Date.parse('2026-05-04T10:00:00Z');
const daysAgo = (days: number): Date => new Date(now - days * DAY_MS);

/** Scans sixty days of a list. @returns what was noted, how many days back each reading went, and whether it was read. */
async function scan(read: ReadList) {
  const noted: (readonly [scannedFrom: Date | null, failure: string | null])[] = [];
  const depths: number[] = [];
  const deps = { log, catchUps: { scanned: async (_: number, from: Date | null, failure: string | null) => void noted.push([from, failure]) } };
  const isRead = await scanDeletions(deps, leads, { id: 7, from: daysAgo(60), nowMs: now }, (since) => {
    depths.push((now - since.getTime()) / DAY_MS);
    return read(since);
  });
  return { noted, depths, isRead };
}

const notDeeperThan = (days: number) => async (since: Date) => {
  if (since < daysAgo(days)) throw new CrmError('page 11 fails', 'CRM_UNAVAILABLE');
  return { isHeld: false };
};

test('goes over the whole depth where it can', async () => {
  expect(await scan(notDeeperThan(60))).toEqual({ noted: [[daysAgo(60), null]], depths: [60], isRead: true });
});

test('is read as deep as it can be, and says how deep that was, and why no deeper', async () => {
  expect(await scan(notDeeperThan(5))).toEqual({ noted: [[daysAgo(3.75), 'page 11 fails']], depths: [60, 15, 3.75], isRead: true });
});

test('that cannot be read at all ends, and says so', async () => {
  const { noted, depths, isRead } = await scan(notDeeperThan(0));
  expect([noted, depths.length, isRead]).toEqual([[[null, 'page 11 fails']], 4, false]);
});

test('whose deletions are held is not taken for read', async () => {
  expect(await scan(async () => ({ isHeld: true }))).toMatchObject({ noted: [[null, expect.stringMatching(/held/)]], isRead: false });
});

test('is given up at once where the fault is not the CRM\'s', async () => {
  await expect(scan(() => Promise.reject(new Error('the log is away')))).rejects.toThrow('the log is away');
});
