import { Migration } from '@mikro-orm/migrations';

/** The register, the positions in the log, and what could not be applied: what the projector keeps beside the legacy tables. */
export class CreateRegister extends Migration {
  override up(): void {
    this.addSql('create schema if not exists lockstep');
    this.addSql(`
      create table lockstep.record_version (
        module text not null,
        record_id bigint not null,
        modified_ms bigint,
        observed_ms bigint,
        content_hash uuid,
        deleted_ms bigint,
        hidden_since timestamptz,
        log_partition integer not null,
        log_offset bigint not null
      ) partition by list (module)`);
    this.addSql(`comment on table lockstep.record_version is
      'One row per CRM record, tombstones included: the version that stands in the legacy table. Times are epoch milliseconds of the CRM.'`);
    this.addSql(`
      create table lockstep.projection_offset (
        topic_id text not null,
        partition integer not null,
        topic text not null,
        next_offset bigint not null,
        updated_at timestamptz not null default now(),
        primary key (topic_id, partition)
      )`);
    this.addSql('create table lockstep.coverage (module text not null, id text not null, fields text[] not null, primary key (module, id))');
    this.addSql('create table lockstep.mapping (module text primary key, fingerprint text not null, built_at timestamptz not null default now())');
    this.addSql(`
      create table lockstep.parked (
        id bigint generated always as identity primary key,
        module text not null,
        topic_id text not null,
        topic text not null,
        partition integer not null,
        log_offset bigint not null,
        record_id text,
        code text not null,
        cause text not null,
        retryable boolean not null,
        parked_at timestamptz not null default now(),
        resolved_at timestamptz,
        unique (topic_id, partition, log_offset)
      )`);
  }
}
