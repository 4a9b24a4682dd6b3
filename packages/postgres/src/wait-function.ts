/*
 * Read-after-write: waits until a record stands as it was at a time, or later. The register is asked, which is written with the row.
 *
 * - A deletion that is known, and not older than the time, counts: what was written by then stands no more.
 * - What is parked for good does not come by itself: an error says why. What waits for other rows may still come.
 * - Each statement of the function has a snapshot of its own under READ COMMITTED. Under REPEATABLE READ it would see the same until the end.
 *
 * Migration 016 creates it. It is published: another text goes to another file, with a migration of its own.
 */
export const waitFunctions: readonly string[] = [
  `create function lockstep.wait(in_module text, in_id bigint, in_modified timestamptz, in_timeout interval default interval '30 seconds') returns boolean
    language plpgsql volatile strict as $wait$
    declare
      deadline constant timestamptz := clock_timestamp() + in_timeout;
      modified constant bigint := floor(extract(epoch from in_modified) * 1000);
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
        if exists (select from lockstep.record_version r where r.module = in_module and r.record_id = in_id and (r.modified_ms >= modified or r.deleted_ms >= modified)) then
          return true;
        end if;
        select p.code || ': ' || p.cause into cause from lockstep.parked p
          where p.module = in_module and p.record_id = in_id::text and p.resolved_at is null and not p.retryable and p.modified_ms >= modified order by p.modified_ms desc limit 1;
        if cause is not null then
          raise exception 'record % of % is parked, and does not come by itself: %', in_id, in_module, cause
            using errcode = 'object_not_in_prerequisite_state', hint = 'select * from lockstep.parked has the place in the log.';
        end if;
        if clock_timestamp() >= deadline then
          return false;
        end if;
        perform pg_sleep(least(pause, greatest(extract(epoch from deadline - clock_timestamp()), 0)));
        pause := least(pause * 1.5, 0.25);
      end loop;
    end $wait$`,
  `comment on function lockstep.wait(text, bigint, timestamptz, interval) is
    'Waits until the record stands with a modified time not before the given one, or is known as deleted since then. False when the time-out has passed; an error when it is parked for good.'`,
];
