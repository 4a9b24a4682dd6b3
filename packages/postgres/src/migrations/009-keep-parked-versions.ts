import { Migration } from '@mikro-orm/migrations';

/**
 * The version that a parked message would have had, so that it is compared with the register by version and not by position.
 *
 * A message that still waits has its value, and its head is decoded here. What was parked for good has none: its version stays
 * unknown, and it is resolved only by a look that began clearly after it was parked, or by a deletion after that (`parked_at` is the
 * latest time at which its content can have been the CRM's).
 */
export class KeepParkedVersions extends Migration {
  override up(): void {
    this.addSql(`
      alter table lockstep.parked
        add column modified_ms bigint, add column version_ms bigint, add column observed_ms bigint, add column content_hash uuid, add column deleted_ms bigint`);
    this.addSql(`comment on column lockstep.parked.modified_ms is
      'With version_ms, observed_ms and content_hash the version that the message would have had in the register, as there; null where it cannot be read.'`);
    this.addSql(`comment on column lockstep.parked.deleted_ms is 'Of a deletion: what the register would have had; else null.'`);
    this.addSql(`comment on column lockstep.parked.resolved_at is
      'Since when the message no longer counts as parked. Where its value is kept all the same, the record is dead (or, of a deletion, lives again), and the message is applied once it fits.'`);
    // Heads are ASCII; the escape format never fails on what is not.
    this.addSql(`
      update lockstep.parked p set modified_ms = h.m[1]::bigint, observed_ms = h.m[2]::bigint, content_hash = h.m[3]::uuid, version_ms = nullif(h.m[4]::bigint, h.m[1]::bigint)
      from (select id, regexp_match(encode(substring(value from 1 for 230), 'escape'),
          '^\\{"v":[12],"type":"(?:seen|repaired)","id":"\\d{1,19}","m":(-?\\d{1,15}),"o":(-?\\d{1,15}),"hash":"([0-9a-f]{32})"(?:,"t":(-?\\d{1,15}))?') as m
        from lockstep.parked where value is not null) h
      where h.id = p.id and h.m is not null`);
    this.addSql(`
      update lockstep.parked p set deleted_ms = h.m[1]::bigint + 999
      from (select id, regexp_match(encode(substring(value from 1 for 230), 'escape'), '^\\{"v":1,"type":"deleted","id":"\\d{1,19}","d":(-?\\d{1,15})\\}') as m
        from lockstep.parked where value is not null) h
      where h.id = p.id and h.m is not null`);
    this.addSql('create index parked_unfinished on lockstep.parked (module) where resolved_at is null or value is not null');
    this.addSql('create index parked_deletion on lockstep.parked (module, record_id) where deleted_ms is not null');
  }
}
