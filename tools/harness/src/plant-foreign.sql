-- What a company has in and around the mapped tables before Lockstep comes: none of it may ever change. Ids of the CRM's records are given by
-- the settings planted.leads, planted.deals and planted.products; foreign rows have keys below 1000, which no record of the CRM has.
begin;

alter table public.leads add column planted_remark text, add column planted_state text not null default 'new, "open"', add column planted_data jsonb;
alter table public.deals add column planted_remark text;
alter table public.products add column planted_remark text;

-- Rows of records that are yet to be loaded: their mapped columns are Lockstep's, the others are not.
insert into public.leads (id, credit_limit, account_manager, planted_remark, planted_state, planted_data)
  select id, 5000 + n, 'Manager ' || n, e'line\u2028separator, tab\there and \\N ' || n, 'kept ' || n, jsonb_build_object('n', n, 'text', e'\u2029')
  from unnest(current_setting('planted.leads')::bigint[]) with ordinality as given (id, n);
insert into public.deals (id, invoice_state, invoiced_amount, planted_remark)
  select id, 'paid ' || n, n * 1.25, e'lone return\rinside ' || n from unnest(current_setting('planted.deals')::bigint[]) with ordinality as given (id, n);
insert into public.products (id, warehouse_bin, planted_remark)
  select id, 'B-' || n, e'form feed\finside ' || n from unnest(current_setting('planted.products')::bigint[]) with ordinality as given (id, n);

-- Rows that no record explains, marked as deleted and not, with and without a modified time.
insert into public.leads (id, modified_time, deleted_at, company, last_name, email, credit_limit, planted_remark)
  select n, case when n % 2 = 0 then timestamptz '2001-02-03 04:05:06.789+00' end, case when n % 3 = 0 then timestamptz '2002-01-01 00:00:00+00' end, 'Legacy ' || n, 'Row', 'legacy' || n || '@old.example', n, 'foreign ' || n
  from generate_series(-3, 20) as n;
insert into public.deals (id, modified_time, deal_name, amount, planted_remark) select n, timestamptz '2001-02-03 04:05:06+00', 'Legacy ' || n, n, 'foreign ' || n from generate_series(-3, 20) as n;
insert into public.products (id, product_name, unit_price, planted_remark) select n, 'Legacy ' || n, n, 'foreign ' || n from generate_series(-3, 20) as n;

create schema billing;

create table billing.accounts (
  lead_id bigint not null references public.leads (id) on update cascade on delete cascade,
  year integer not null,
  balance numeric(16,2) not null,
  opened_at timestamptz not null default timestamptz '2003-01-01 00:00:00+00',
  primary key (lead_id, year)
);
insert into billing.accounts (lead_id, year, balance) select id, year, id % 977 + year from public.leads, generate_series(2020, 2022) as year;

create table billing.invoices (
  id bigint generated always as identity primary key,
  deal_id bigint references public.deals (id) on update cascade on delete set null,
  lead_id bigint default 1 references public.leads (id) on update set default on delete set default,
  text text not null
);
insert into billing.invoices (deal_id, lead_id, text) select d.id, l.id, 'Invoice ' || d.id from public.deals d left join public.leads l on l.id = d.id;

-- Only products that no record explains: a removal in the CRM would wait for its orders forever.
create table billing.orders (product_id bigint not null references public.products (id) on delete restrict, quantity integer not null, primary key (product_id, quantity));
insert into billing.orders (product_id, quantity) select id, 7 from public.products where id < 1000;
insert into public.product_reviews (product_id, stars, review) select id, 5, e'good\u0085value' from public.products where id < 1000;
insert into public.lead_notes (lead_id, note, written_at) select id, 'Note of ' || id, timestamptz '2004-01-01 00:00:00+00' from public.leads;

create table billing.log_without_key (at timestamptz not null, line text);
insert into billing.log_without_key select timestamptz '2005-01-01 00:00:00+00', 'the same line' from generate_series(1, 3);

create view billing.open_accounts as select a.lead_id, l.company, l.credit_limit, a.balance from billing.accounts a join public.leads l on l.id = a.lead_id where l.deleted_at is null;

-- Whatever touches foreign values is noted, even if it restores them in the same transaction.
create table billing.touched (note text not null);
create function billing.note_touch() returns trigger language plpgsql as $$
begin
  insert into billing.touched values (tg_op || ' of ' || tg_table_name || coalesce(' ' || to_jsonb(old)::text, ''));
  return null;
end $$;
create trigger planted_columns after update on public.leads for each row
  when ((old.credit_limit, old.account_manager, old.planted_remark, old.planted_state, old.planted_data) is distinct from (new.credit_limit, new.account_manager, new.planted_remark, new.planted_state, new.planted_data) or old.id is distinct from new.id)
  execute function billing.note_touch();
create trigger planted_columns after update on public.deals for each row
  when ((old.invoice_state, old.invoiced_amount, old.planted_remark) is distinct from (new.invoice_state, new.invoiced_amount, new.planted_remark) or old.id is distinct from new.id) execute function billing.note_touch();
create trigger planted_columns after update on public.products for each row
  when ((old.warehouse_bin, old.planted_remark) is distinct from (new.warehouse_bin, new.planted_remark) or old.id is distinct from new.id) execute function billing.note_touch();
do $$
declare
  mapped text;
  other text;
begin
  foreach mapped in array array['leads', 'deals', 'products'] loop
    execute format('create trigger planted_rows after update or delete on public.%I for each row when (old.id < 1000) execute function billing.note_touch()', mapped);
    execute format('create trigger planted_truncate after truncate on public.%I for each statement execute function billing.note_touch()', mapped);
  end loop;
  foreach other in array array['billing.accounts', 'billing.invoices', 'billing.orders', 'billing.log_without_key', 'public.lead_notes', 'public.product_reviews'] loop
    execute format('create trigger planted_any after insert or update or delete on %s for each row execute function billing.note_touch()', other::regclass);
  end loop;
end $$;
commit;
