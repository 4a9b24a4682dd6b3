import { Migration } from '@mikro-orm/migrations';

/**
 * What outlives a restart about what failed: when a page may be requested again, and how deep the deleted list could be scanned; how far a reading that
 * was too large had come; and the fence that keeps a late answer of a former leader from changing anything.
 */
export class KeepAttempts extends Migration {
  override up(): void {
    this.addSql('alter table lockstep.bulk_page add column next_attempt_at timestamptz');
    this.addSql('alter table lockstep.catch_up add column read_up_to timestamptz, add column scan_from timestamptz, add column scanned_from timestamptz, add column scan_failure text');
    this.addSql(`comment on column lockstep.catch_up.read_up_to is 'Where more was to be read than queries are for: every change before this time was read.'`);
    this.addSql(`comment on column lockstep.catch_up.scanned_from is 'How far back the list of deletions was read for restores; later than scan_from where it could not be read that far.'`);
    // A scan used to be a part of its catch-up, which failed with it.
    this.addSql(`update lockstep.catch_up set scan_from = deleted_from, scanned_from = deleted_from where is_restore_scan and state = 'complete'`);
    this.addSql('create table lockstep.lease (role text primary key, epoch bigint not null)');
    this.addSql(`comment on table lockstep.lease is 'How often each role was taken. A connection of a former holder can write nothing any more: see lockstep.check_fence().'`);
    this.addSql(checkFence);
    for (const table of ['bulk_run', 'bulk_page', 'catch_up', 'watermark', 'channel']) {
      this.addSql(`create trigger fence before insert or update or delete on lockstep.${table} for each statement execute function lockstep.check_fence()`);
    }
  }
}

/** Shared, so that the next holder takes the role only after what the former one has begun to write is written, and sees it. */
const checkFence = `
  create function lockstep.check_fence() returns trigger language plpgsql as $$
  declare
    fence text := current_setting('lockstep.fence', true);
  begin
    if coalesce(fence, '') = '' then return null; end if;
    perform from lockstep.lease where role = split_part(fence, ':', 1) and epoch = split_part(fence, ':', 2)::bigint for share;
    if not found then
      raise exception 'another process has taken the role "%"', split_part(fence, ':', 1) using errcode = 'object_not_in_prerequisite_state';
    end if;
    return null;
  end $$`;
