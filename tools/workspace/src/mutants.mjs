/**
 * Guarantees, each broken in one way, and the tests that have to notice.
 * @type {{ name: string, changes: { file: string, from: string, to: string }[], project: string, tests: string[] }[]}
 */
export const mutants = [
  {
    name: 'a catch-up leaves out the very second of the watermark (>= becomes >)',
    changes: [{ file: 'packages/crm-client/src/records.ts', from: '`Modified_Time >= \'${from}\'`', to: '`Modified_Time > \'${from}\'`' }],
    project: 'packages/crm-client',
    tests: ['src/changed-since.test.ts'],
  },
  {
    name: 'a catch-up may begin anywhere and still move the watermark (no from <= W)',
    changes: [{ file: 'packages/completeness/src/watermark.ts', from: '(watermarkMs !== null && fromMs <= watermarkMs)', to: 'watermarkMs !== null' }],
    project: 'packages/completeness',
    tests: ['src/watermark.test.ts'],
  },
  {
    name: 'a catch-up has to begin below the watermark (<= becomes <)',
    changes: [{ file: 'packages/completeness/src/watermark.ts', from: 'fromMs <= watermarkMs', to: 'fromMs < watermarkMs' }],
    project: 'packages/completeness',
    tests: ['src/watermark.test.ts'],
  },
  {
    name: 'a watermark without its margin',
    changes: [{ file: 'packages/completeness/src/watermark.ts', from: 'wholeSecond(startedMs - marginMs)', to: 'wholeSecond(startedMs)' }],
    project: 'tools/simulation',
    tests: ['src/sequences.test.ts', 'src/seeds.test.ts'],
  },
  {
    name: 'a deletion counts from the beginning of its second (no 999 ms), in the pure fold',
    changes: [{ file: 'packages/record-log/src/register.ts', from: 'observation.deletedMs + 999', to: 'observation.deletedMs' }],
    project: 'packages/record-log',
    tests: ['src/register.test.ts'],
  },
  {
    name: 'a deletion counts from the beginning of its second (no 999 ms), in Postgres',
    changes: [{ file: 'packages/projection/src/fold-batch.ts', from: 'event.deletedMs + 999', to: 'event.deletedMs' }],
    project: 'packages/projection',
    tests: ['src/fold-equality.pg.test.ts'],
  },
  {
    name: 'a look is alive right after the deletion (no ε), in the pure fold',
    changes: [{ file: 'packages/record-log/src/register.ts', from: 'live.observedMs > deletedMs + epsilonMs)', to: 'live.observedMs > deletedMs)' }],
    project: 'packages/record-log',
    tests: ['src/register.test.ts'],
  },
  {
    name: 'a look is alive right after the deletion (no ε), in Postgres',
    changes: [{ file: 'packages/projection/src/decide.ts', from: 'observedMs <= deletedMs + epsilonMs', to: 'observedMs <= deletedMs' }],
    project: 'packages/projection',
    tests: ['src/fold-equality.pg.test.ts'],
  },
  {
    name: 'a field outside the coverage is written as NULL',
    changes: [
      { file: 'packages/projection/src/write-plan.ts', from: 'do update set ${rest.map((column) => `${column} = excluded.${column}`).join(\', \')}', to: 'do update set ${columns.includes(\'fax\') ? \'\' : \'"fax" = null, \'}${rest.map((column) => `${column} = excluded.${column}`).join(\', \')}' },
    ],
    project: 'packages/projection',
    tests: ['src/projection.pg.test.ts'],
  },
  {
    name: 'the older version wins where both were modified at the same time',
    changes: [{ file: 'packages/record-log/src/version.ts', from: 'return a.observedMs - b.observedMs', to: 'return b.observedMs - a.observedMs' }],
    project: 'packages/record-log',
    tests: ['src/register.test.ts'],
  },
  {
    name: 'a hint counts as answered before its look is in the log',
    changes: [{ file: 'packages/crm-reader/src/looks/acknowledged.ts', from: 'least = Math.min(least, offset);', to: 'void offset;' }],
    project: 'packages/crm-reader',
    tests: ['src/looks/waiting.test.ts'],
  },
  {
    name: 'the deleted list is not read when a window is',
    changes: [{ file: 'packages/crm-reader/src/deleted-list.ts', from: 'if (fresh.length > 0) await producer', to: 'if (fresh.length > 1_000) await producer' }],
    project: 'tools/simulation',
    tests: ['src/sequences.test.ts'],
  },
  {
    name: 'a claim is made although the projector has not passed its offsets',
    changes: [{ file: 'packages/postgres/src/freshness-view.ts', from: 'where coalesce(o.next_offset, 0) < e.next_offset)', to: 'where false)' }],
    project: 'packages/crm-planner',
    tests: ['src/catch-up.pg.test.ts'],
  },
  {
    name: 'a page is published although the seam between it and the one before was not read',
    changes: [{ file: 'packages/crm-reader/src/bulk/close-seams.ts', from: 'if (isSingle) return 0;', to: 'if (page.id > 0) return 0;' }],
    project: 'tools/simulation',
    tests: ['src/sequences.test.ts'],
  },
  {
    name: 'rows between two pages are asked for in one query only',
    changes: [{ file: 'packages/crm-reader/src/bulk/close-seams.ts', from: 'if (!page.hasMore || last === undefined) return found;', to: 'if (found >= 0 || last === undefined) return found;' }],
    project: 'packages/crm-reader',
    tests: ['src/bulk/ingest-pages.test.ts'],
  },
];
