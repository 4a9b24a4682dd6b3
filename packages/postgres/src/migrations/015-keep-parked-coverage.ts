import { Migration } from '@mikro-orm/migrations';

/**
 * The coverage of what is parked, and what of it still counts. A newer content of a smaller coverage says nothing of the other fields: a
 * parked one that has them is not overtaken by it.
 */
export class KeepParkedCoverage extends Migration {
  override up(): void {
    this.addSql('alter table lockstep.parked add column coverage text, add column fields_left text[]');
    this.addSql(`comment on column lockstep.parked.coverage is 'Names the fields of a content, see lockstep.coverage; null where it is not known: then all that are mapped.'`);
    this.addSql(`comment on column lockstep.parked.fields_left is
      'Of a content that a newer one of a smaller coverage has passed: the fields that none has spoken of since. Null where none has passed it.'`);
    // Heads are ASCII; the escape format never fails on what is not.
    this.addSql(`
      update lockstep.parked p set coverage = h.m[1]
      from (select id, regexp_match(encode(substring(value from 1 for 230), 'escape'),
          '^\\{"v":[12],"type":"(?:seen|repaired)","id":"\\d{1,19}","m":-?\\d{1,15},"o":-?\\d{1,15},"hash":"[0-9a-f]{32}"(?:,"t":-?\\d{1,15})?,"coverage":"([0-9a-f]{8})"') as m
        from lockstep.parked where value is not null) h
      where h.id = p.id and h.m is not null`);
    this.addSql('create index parked_record on lockstep.parked (module, record_id) where resolved_at is null or value is not null');
  }
}
