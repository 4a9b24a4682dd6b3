/*
 * `lockstep.wait` with a time-out that is a span: a clock that is set ahead or back meanwhile neither ends it early nor draws it out. Postgres gives functions no monotonic
 * clock, so what the wall clock says of a round is believed between its pause and twice of that. One thing is left: Postgres's own `pg_sleep` goes by the wall clock, so
 * a pause that is under way while the clock is set back lasts longer by that much. `lockstep wait` pauses by itself.
 *
 * Migration 029 puts it in the place of the one before. It is published: another text goes to another file, with a migration of its own.
 */
export const waitBySpanFunction = `create or replace function lockstep.wait(in_module text, in_id bigint, in_modified timestamptz, in_timeout interval default interval '30 seconds') returns boolean
  language plpgsql volatile strict as $wait$
  declare
    budget constant double precision := extract(epoch from in_timeout);
    modified constant bigint := floor(extract(epoch from in_modified) * 1000);
    waited double precision := 0;
    began timestamptz;
    pause double precision := 0.01;
    cause text;
  begin
    if current_setting('transaction_isolation') not in ('read committed', 'read uncommitted') then
      raise exception 'lockstep.wait sees nothing new in a transaction at %', current_setting('transaction_isolation')
        using errcode = 'active_sql_transaction', hint = 'Call it in a transaction at read committed, before the one that reads.';
    end if;
    if not exists (select from lockstep.mapping m where m.module = in_module) then
      raise exception 'module "%" is not projected into this database', in_module
        using errcode = 'invalid_parameter_value', hint = 'select module from lockstep.mapping lists those that are. Names are as in the CRM, e.g. Leads.';
    end if;
    loop
      began := clock_timestamp();
      if exists (select from lockstep.record_version r where r.module = in_module and r.record_id = in_id and (r.modified_ms >= modified or r.deleted_ms >= modified)) then
        return true;
      end if;
      select p.code || ': ' || p.cause into cause from lockstep.parked p
        where p.module = in_module and p.record_id = in_id::text and p.resolved_at is null and not p.retryable and p.modified_ms >= modified order by p.modified_ms desc limit 1;
      if cause is not null then
        raise exception 'record % of % is parked, and does not come by itself: %', in_id, in_module, cause
          using errcode = 'object_not_in_prerequisite_state', hint = 'select * from lockstep.parked has the place in the log.';
      end if;
      if waited >= budget then
        return false;
      end if;
      perform pg_sleep(least(pause, budget - waited));
      waited := waited + least(greatest(extract(epoch from clock_timestamp() - began), least(pause, budget - waited)), pause * 2 + 0.01);
      pause := least(pause * 1.5, 0.25);
    end loop;
  end $wait$`;
