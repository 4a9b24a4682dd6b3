import type { BulkPageRow, BulkRunRow } from '@lockstep/postgres';
import { describe, expect, test } from 'vitest';

import { runStatus } from './status.ts';

const at = (text: string): Date => new Date(`2026-05-${text}Z`);

describe('the status of a run', () => {
  const run = { kind: 'initial', state: 'running', startedAt: at('04T10:00:00'), finishedAt: null, expectedRows: 1_000, failure: null } as unknown as BulkRunRow;
  const page = (state: string, rowsPublished: number) => ({ state, rowsPublished }) as BulkPageRow;

  test('shows rows, rate and what is left', () => {
    expect(runStatus(run, [page('published', 200), page('ready', 50)], at('04T10:00:10'))).toMatchObject({ pages: 2, pagesPublished: 1, rows: 250, rowsPerSecond: 25, etaSeconds: 30 });
  });

  test('makes no estimate without a count, or before the first row', () => {
    expect(runStatus({ ...run, expectedRows: null }, [page('ready', 50)], at('04T10:00:10')).etaSeconds).toBeNull();
    expect(runStatus(run, [page('wanted', 0)], at('04T10:00:10')).etaSeconds).toBeNull();
  });
});
