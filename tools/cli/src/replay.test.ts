import { expect, test } from 'vitest';

import { replayedText, replayFrom } from './replay.ts';

test('a replay begins at the beginning, an offset, offsets of partitions, or a time', () => {
  expect(replayFrom('beginning')).toEqual({ kind: 'beginning' });
  expect(replayFrom('1200')).toEqual({ kind: 'offset', offset: 1200 });
  expect(replayFrom('0/1200,3/17')).toEqual({ kind: 'offsets', offsets: new Map([[0, 1200], [3, 17]]) });
  expect(replayFrom('2026-03-02T10:05:00Z')).toEqual({ kind: 'time', ms: Date.UTC(2026, 2, 2, 10, 5) });
  for (const text of ['', 'end', '-1', '1/2/3', 'yesterday']) expect(() => replayFrom(text)).toThrow(/neither "beginning" nor an offset/);
});

test('a replay says how many messages are handed over again', () => {
  expect(replayedText('deals-won', [{ topic: 'crm.records.deals', partition: 0, effectsFrom: 1000, end: 3500 }])).toBe(
    'deals-won is set back; once it is started it folds the log from the beginning, and hands over again:\n  crm.records.deals/0: 2,500 of 3,500 messages, from offset 1000 on\n',
  );
});
