import { Migration } from '@mikro-orm/migrations';

import { verifiedFreshnessView } from '../verified-freshness-view.ts';

/** What came of comparing a module's register and table with its log the last time. */
export class CreateVerification extends Migration {
  override up(): void {
    this.addSql(`
      create table lockstep.verification (
        module text primary key,
        verified_at timestamptz not null default now(),
        topic_id text not null,
        end_offsets bigint[] not null,
        records bigint not null,
        differences bigint not null,
        found jsonb not null
      )`);
    this.addSql(`comment on table lockstep.verification is
      'The last comparison of register and table with the log up to these offsets, partition 0 first: how many records the log knows, how many differed, and the first of them.'`);
    this.addSql(verifiedFreshnessView);
  }
}
