import { freshnessSelect } from './freshness-view.ts';

/*
 * The view with when the table was last compared with its log, and how many records differed then. Migration 017 creates it. It is published: another text
 * goes to another file, with a migration of its own.
 */
export const verifiedFreshnessView = `
  create or replace view lockstep.freshness as
  select f.*, p.since as paused_since, v.verified_at, v.differences from (${freshnessSelect}) f
  left join lockstep.paused p on p.module = f.module
  left join lockstep.verification v on v.module = f.module`;
