import fc from 'fast-check';
import { expect, test } from 'vitest';

import { describeConflicts } from './contracts/conflicts-contract.ts';
import { endOf, histories } from './contracts/conflicting-histories.ts';
import { memoryTablesUnderTest } from './memory-tables.ts';

const EPSILON_MS = 60_000;

describeConflicts('in memory', async () => memoryTablesUnderTest(EPSILON_MS));

test('in memory, whatever conflicts on the way and in whatever order it comes, the tables end as the CRM is', async () => {
  await fc.assert(
    fc.asyncProperty(histories, async (history) => {
      expect(await endOf(memoryTablesUnderTest(EPSILON_MS), history)).toEqual({ rows: history.rows, parked: [] });
    }),
    { numRuns: 500 },
  );
});
