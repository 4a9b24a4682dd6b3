import { freshnessView } from './freshness-view.ts';

const lastColumn = ' as unsettled\n  from modules m';

/*
 * The view with when the table was last compared with its log, and how many records differed then. Migration 017 creates it. It is published: another text
 * goes to another file, with a migration of its own.
 */
export const verifiedFreshnessView = freshnessView.replace(
  lastColumn,
  ` as unsettled,
    (select v.verified_at from lockstep.verification v where v.module = m.module) as verified_at,
    (select v.differences from lockstep.verification v where v.module = m.module) as differences
  from modules m`,
);
