import type { RecordEvent } from '@lockstep/record-log';
import { describe, expect, test } from 'vitest';

import { countMismatches, historyRow, newestRow, rowsOfLog } from './consumer-rows.ts';

const declared: RecordEvent = { type: 'CoverageDeclared', coverage: 'c', fields: ['A', 'B'] };
const seen = (id: string, modifiedMs: number, a: string, observedMs = modifiedMs): RecordEvent => ({ type: 'RecordSeen', id, modifiedMs, observedMs, hash: a, coverage: 'c', fields: [a, null] });
const events = [seen('1', 200, 'new'), declared, seen('1', 100, 'old'), seen('2', 100, 'x', 150), seen('2', 100, 'y', 160), seen('1', 100, 'old')];
const fields = (a: string): string => `{"A":"${a}","B":null}`;

describe('what a log amounts to', () => {
  test('is the newest content of each record, whatever the order', () => {
    expect([...rowsOfLog(events).newest]).toEqual([['1', newestRow(200, fields('new'))], ['2', newestRow(100, fields('y'))]]);
  });

  test('is each content with the time in which it stood, of one time the later look', () => {
    expect([...rowsOfLog(events).history]).toEqual([['1 100', historyRow(200, fields('old'))], ['1 200', historyRow(null, fields('new'))], ['2 100', historyRow(null, fields('y'))]]);
  });

  test('is not worked out for a deletion', () => {
    expect(() => rowsOfLog([...events, { type: 'RecordDeleted', id: '1', deletedMs: 300, listedMs: 400 }])).toThrow('the topic holds a deletion');
  });
});

describe('a table is compared in every row', () => {
  const { history } = rowsOfLog(events);

  test('one that is right has no mismatch', () => {
    expect(countMismatches(history, new Map(history))).toBe(0);
  });

  test('a row that is missing, too many, or another one counts', () => {
    const [missing, other, more] = [new Map(history), new Map(history), new Map(history)];
    missing.delete('1 100');
    other.set('1 100', historyRow(201, fields('old')));
    more.set('3 100', historyRow(null, fields('z')));
    expect([missing, other, more].map((standing) => countMismatches(history, standing))).toEqual([1, 1, 1]);
  });
});
