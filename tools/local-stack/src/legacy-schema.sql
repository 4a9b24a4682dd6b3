-- The legacy database of an imagined company: a schema that is not ours, into which Lockstep writes its mapped columns and nothing
-- else. It stands for the database a user of Lockstep already has; nothing in Lockstep creates it outside demonstrations and tests.
-- One transaction; every statement may run again.
begin;
-- Two sessions at once must not both find a table absent.
select pg_advisory_xact_lock(7091826354);

create table if not exists public.leads (
  id bigint primary key,
  modified_time timestamptz,
  deleted_at timestamptz,
  owner_id bigint,
  created_by_id bigint,
  modified_by_id bigint,
  created_time timestamptz,
  last_activity_time timestamptz,
  company varchar(200),
  salutation text,
  first_name text,
  last_name text,
  full_name text,
  designation text,
  email text,
  secondary_email text,
  phone text,
  mobile text,
  fax text,
  website text,
  lead_source text,
  lead_status text,
  industry text,
  rating text,
  no_of_employees integer,
  annual_revenue numeric(16,2),
  email_opt_out boolean,
  converted boolean,
  street text,
  city text,
  state text,
  zip_code text,
  country text,
  description text,
  skype_id text,
  twitter text,
  tags text,
  currency text,
  exchange_rate numeric,
  lead_score integer,
  languages_known text,
  date_of_birth date,
  contacted_at timestamptz,
  external_reference bigint,
  win_probability numeric(5,2),
  referred_by_id bigint,
  lead_number text,
  -- The company's own columns: Lockstep must never touch them.
  credit_limit numeric(12,2) not null default 1000,
  account_manager text
);

create table if not exists public.deals (
  id bigint primary key,
  modified_time timestamptz,
  deleted_at timestamptz,
  owner_id bigint,
  created_by_id bigint,
  modified_by_id bigint,
  created_time timestamptz,
  last_activity_time timestamptz,
  deal_name text,
  account_id bigint,
  contact_id bigint,
  campaign_id bigint,
  main_product_id bigint,
  stage text,
  type text,
  lead_source text,
  next_step text,
  amount numeric(16,2),
  expected_revenue numeric(16,2),
  probability numeric(5,2),
  closing_date date,
  renewal_date date,
  overall_sales_duration integer,
  lead_conversion_time integer,
  is_strategic boolean,
  competitors text,
  contract_number bigint,
  signed_at timestamptz,
  description text,
  tags text,
  currency text,
  exchange_rate numeric,
  deal_number text,
  -- The company's own columns.
  invoice_state text not null default 'open',
  invoiced_amount numeric(16,2)
);

create table if not exists public.products (
  id bigint primary key,
  modified_time timestamptz,
  owner_id bigint,
  created_by_id bigint,
  modified_by_id bigint,
  created_time timestamptz,
  product_name text,
  product_code text,
  vendor_id bigint,
  handler_id bigint,
  is_active boolean,
  is_taxable boolean,
  manufacturer text,
  category text,
  usage_unit text,
  unit_price numeric(16,2),
  commission_rate numeric(16,2),
  discount_percent numeric(5,2),
  qty_in_stock numeric,
  qty_in_demand numeric,
  qty_ordered numeric,
  reorder_level numeric,
  warranty_months integer,
  article_number bigint,
  sales_start_date date,
  sales_end_date date,
  last_audited_at timestamptz,
  sold_in text,
  description text,
  tags text,
  product_number text,
  -- The company's own column.
  warehouse_bin text
);

-- A database that was set up before the company sold by product.
alter table public.deals add column if not exists main_product_id bigint;

create index if not exists leads_account_manager on public.leads (account_manager);

-- What the company's own programs read and write around those tables.
create or replace view public.open_leads as
  select id, company, last_name, email, lead_status, credit_limit, account_manager from public.leads where deleted_at is null and converted is not true;

create table if not exists public.lead_notes (
  id bigint generated always as identity primary key,
  lead_id bigint not null references public.leads (id),
  note text not null,
  written_at timestamptz not null default now()
);

-- A product with reviews cannot be removed before they are: a removal by Lockstep has to wait, and must not cascade.
create table if not exists public.product_reviews (
  id bigint generated always as identity primary key,
  product_id bigint not null references public.products (id) on delete no action,
  stars integer not null check (stars between 1 and 5),
  review text
);
commit;
