import type { Pool } from 'pg';

import { checkName, type ConsumerDefinition } from './definition.ts';

/** The schema that holds a consumer's state, e.g. `consumer_deals_won`. @throws {ConsumerError} `NAME_INVALID`. */
export function schemaOf(name: string): string {
  checkName(name);
  return `consumer_${name.replaceAll('-', '_')}`;
}

// Any constant will do; it must only be the same in every process.
const SCHEMA_LOCK = 7_101_301;

/** Creates a consumer's schema and lets it prepare its own tables. One instance at a time; a second run changes nothing. */
export async function createSchema(pool: Pool, { name, prepare }: Pick<ConsumerDefinition, 'name' | 'prepare'>): Promise<void> {
  const client = await pool.connect();
  let isDone = false;
  try {
    await client.query('begin');
    await client.query('select pg_advisory_xact_lock($1)', [SCHEMA_LOCK]);
    await client.query(tables(schemaOf(name)));
    await prepare?.(client);
    await client.query('commit');
    isDone = true;
  } finally {
    client.release(!isDone);
  }
}

/* Values are kept as `json`, which keeps the text as it is: `jsonb` refuses U+0000, which a CRM's text may hold. */
const tables = (schema: string): string => `
  create schema if not exists ${schema};
  create table if not exists ${schema}.position (
    topic_id text not null,
    partition integer not null,
    topic text not null,
    next_offset bigint not null,
    effects_from bigint not null default 0,
    updated_at timestamptz not null default now(),
    primary key (topic_id, partition)
  );
  comment on column ${schema}.position.effects_from is 'Messages before it are folded, and have no effects.';
  create table if not exists ${schema}.coverage (module text not null, id text not null, fields text[] not null, primary key (module, id));
  create table if not exists ${schema}.newest (
    module text not null,
    record_id bigint not null,
    partition integer not null,
    was_alive boolean not null,
    register json not null,
    primary key (module, record_id)
  );
  comment on table ${schema}.newest is 'The newest state of each record: the register that its messages amount to.';
  create table if not exists ${schema}.parked (
    topic_id text not null,
    topic text not null,
    partition integer not null,
    log_offset bigint not null,
    code text not null,
    cause text not null,
    value bytea,
    parked_at timestamptz not null default now(),
    primary key (topic_id, partition, log_offset)
  );
  create table if not exists ${schema}.outbox (
    seq bigint generated always as identity primary key,
    idempotency_key text not null unique,
    module text not null,
    record_id bigint not null,
    topic_id text not null,
    partition integer not null,
    log_offset bigint not null,
    payload json not null,
    created_at timestamptz not null default now(),
    attempts integer not null default 0,
    next_try_at timestamptz not null default now(),
    delivered_at timestamptz,
    last_error text
  );
  create index if not exists outbox_waiting on ${schema}.outbox (module, record_id, seq) where delivered_at is null;
  drop index if exists ${schema}.outbox_due;
  create index if not exists outbox_order on ${schema}.outbox (attempts, next_try_at, seq) where delivered_at is null;
  create index if not exists outbox_delivered on ${schema}.outbox (delivered_at) where delivered_at is not null;
  create or replace view ${schema}.failing as
    select o.module, o.record_id, o.idempotency_key, o.attempts, o.next_try_at, o.last_error, o.created_at,
      (select count(*) from ${schema}.outbox b where b.module = o.module and b.record_id = o.record_id and b.delivered_at is null and b.seq > o.seq) as blocked
    from ${schema}.outbox o where o.delivered_at is null and o.attempts > 0;
  comment on view ${schema}.failing is 'Deliveries that have failed at least once and are tried again, and how many later ones of the same record wait for each.';
  create table if not exists ${schema}.file (path text primary key, bytes bigint not null)`;
