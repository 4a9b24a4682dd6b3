import { CrmError, type FoundRecord, versionRules } from '@lockstep/crm-client';
import { deals } from '@lockstep/modules';
import { createLogger, createMetrics } from '@lockstep/telemetry';
import { beforeEach, describe, expect, test } from 'vitest';

import { createReaderMetrics } from './metrics.ts';
import { WholeTexts, type WholeTextsDeps } from './whole-texts.ts';

const TEXT = 'x'.repeat(3_000);
const AT = '2026-05-04T10:00:00+05:30';
const record = (id: string, description: string | null = TEXT.slice(0, 500), modifiedTime = AT): FoundRecord => ({ id, modifiedTime, values: { Description: description, Deal_Name: 'Name' } });

/** What the CRM gives at the second reading. */
let modifiedTime: string;
let full: () => unknown;
let calls: string[];
let deps: WholeTextsDeps;
let texts: WholeTexts;

beforeEach(() => {
  [modifiedTime, full, calls] = [AT, () => TEXT, []];
  const observed = { lowerMs: 0, upperMs: 1 };
  deps = {
    crm: {
      rules: versionRules.v8,
      fullTexts: async ({ ids, fields }) => {
        calls.push(`full ${ids.join()} ${fields.join()}`);
        return ids.map((id) => ({ id, values: { Description: full() } }));
      },
      lookAt: async ({ ids }) => {
        calls.push(`look ${ids.join()}`);
        return { records: ids.map((id) => ({ id, modifiedTime, values: {} })), observed };
      },
      readRecord: async ({ id }) => ({ id, modifiedTime, values: { Description: full() } }),
    },
    facts: { of: () => ({ isKnown: true, multiSelects: new Map(), richTexts: new Set(['Description']), textareas: new Set(['Description']) }), contradicted: () => undefined },
    cuts: { all: async () => [], note: async () => undefined },
    metrics: createReaderMetrics(createMetrics({ app: 'test' })),
    log: createLogger({ app: 'test', level: 'silent', isPretty: false }),
  };
  texts = new WholeTexts(deps);
});

const complete = async (...records: FoundRecord[]) => (await texts.complete(deals, { records })).map(({ id, values, unread }) => ({ id, length: (values['Description'] as string | null)?.length, unread }));

describe('a text that may be cut', () => {
  test('is read in full, all records in one call, and no other record is read again', async () => {
    expect(await complete(record('1'), record('2', 'short'), record('3'), record('4', null))).toEqual([
      { id: '1', length: 3_000, unread: [] },
      { id: '2', length: 5, unread: [] },
      { id: '3', length: 3_000, unread: [] },
      { id: '4', length: undefined, unread: [] },
    ]);
    expect(calls).toEqual(['full 1,3 Description', 'look 1,3']);
    await complete(record('2', 'short'));
    expect(calls).toHaveLength(2);
  });

  test('is not taken from another record, whatever the reply says', async () => {
    const other = new WholeTexts({ ...deps, crm: { ...deps.crm, readRecord: async () => ({ id: '2', modifiedTime, values: { Description: TEXT } }) }, facts: { of: () => ({ isKnown: false, multiSelects: new Map(), richTexts: new Set(), textareas: new Set() }), contradicted: () => undefined } });
    const [read] = await other.complete(deals, { records: [record('1')] });
    expect(read?.unread).toEqual(['Description']);
  });

  test('is not taken from another version of the record: it may have been edited in between', async () => {
    modifiedTime = '2026-05-04T10:00:01+05:30';
    expect(await complete(record('1'))).toEqual([{ id: '1', length: 500, unread: ['Description'] }]);
  });

  test('is of the same version whatever the offset of its time', async () => {
    modifiedTime = '2026-05-04T04:30:00Z';
    expect(await complete(record('1'))).toEqual([{ id: '1', length: 3_000, unread: [] }]);
  });

  test.each([['nothing', () => undefined], ['null', () => null], ['a shorter text', () => 'x'], ['the same, of the length of a cut', () => TEXT.slice(0, 500)]])('is left out where the second reading brings %s', async (_, given) => {
    full = given;
    expect(await complete(record('1'))).toEqual([{ id: '1', length: 500, unread: ['Description'] }]);
  });

  test('is believed where the second reading is the same, of a length that no cut has', async () => {
    full = () => TEXT.slice(0, 470);
    expect(await complete(record('1', TEXT.slice(0, 470)))).toEqual([{ id: '1', length: 470, unread: [] }]);
  });
});

test('a call that fails and may succeed later fails the look; one that always does so is done without', async () => {
  full = () => {
    throw new CrmError('down', 'CRM_UNAVAILABLE');
  };
  for (let times = 0; times < 3; times += 1) await expect(complete(record('1'))).rejects.toMatchObject({ code: 'CRM_UNAVAILABLE' });
  expect(await complete(record('1'))).toEqual([{ id: '1', length: 500, unread: ['Description'] }]);
  full = () => TEXT;
  expect(await complete(record('1'))).toEqual([{ id: '1', length: 3_000, unread: [] }]);
});
