import { freshnessSelect } from './freshness-view.ts';
import { HINTS_BACKLOG } from './looks-aside.ts';
import { isOpenLetterSql } from './open-letters.ts';

/*
 * The view with what was left out when its times moved on: records whose looks fail, and what could not be read at all. Migration 026 creates it. It is
 * published: another text goes to another file, with a migration of its own.
 */
export const leftOutFreshnessView = `
  create or replace view lockstep.freshness as
  select f.*, p.since as paused_since, v.verified_at, v.differences,
    (select count(*) from lockstep.look_aside a where a.module = f.module and a.code <> '${HINTS_BACKLOG}') as kept_aside,
    (select count(*) from lockstep.dead_letter d where d.module = f.module and d.resolved_at is null) as dead_letters
  from (${freshnessSelect}) f
  left join lockstep.paused p on p.module = f.module
  left join lockstep.verification v on v.module = f.module`;

/** The same; what could not be read and is of no module counts for each. Migration 027 creates it, and is published as well. */
export const allLettersFreshnessView = `
  create or replace view lockstep.freshness as
  select f.*, p.since as paused_since, v.verified_at, v.differences,
    (select count(*) from lockstep.look_aside a where a.module = f.module and a.code <> '${HINTS_BACKLOG}') as kept_aside,
    (select count(*) from lockstep.dead_letter d where ${isOpenLetterSql('f.module')}) as dead_letters
  from (${freshnessSelect}) f
  left join lockstep.paused p on p.module = f.module
  left join lockstep.verification v on v.module = f.module`;

/** The same, and the mapped fields that the CRM refuses, or has given back and whose values are still to be read. Migration 028 creates it, and is published as well. */
export const missingFieldsFreshnessView = `
  create or replace view lockstep.freshness as
  select f.*, p.since as paused_since, v.verified_at, v.differences,
    (select count(*) from lockstep.look_aside a where a.module = f.module and a.code <> '${HINTS_BACKLOG}') as kept_aside,
    (select count(*) from lockstep.dead_letter d where ${isOpenLetterSql('f.module')}) as dead_letters,
    (select count(*) from lockstep.field_missing m where m.module = f.module) as missing_fields
  from (${freshnessSelect}) f
  left join lockstep.paused p on p.module = f.module
  left join lockstep.verification v on v.module = f.module`;
