import type { ModuleDefinition } from '@lockstep/modules';
import { isTransient, sqlState } from '@lockstep/postgres';
import type { PoolClient } from 'pg';

import type { DescribedColumn, DescribedTable } from './described-table.ts';
import { FIRST_OWN_OID, shapeSql } from './table-shape.ts';

type Client = Pick<PoolClient, 'query'>;

/** @returns the table as the catalogue has it now, or null where there is none. */
export async function describeTable(client: Client, module: ModuleDefinition): Promise<DescribedTable | null> {
  const { schema, name } = module.table;
  const { rows: [relation] } = await client.query<Relation>(relationSql, [schema, name, module.keyColumn, module.onDelete.action === 'remove', [...columnsWritten(module), ...deletedColumn(module)]]);
  if (relation === undefined) return null;
  // The shape first: what changes in between shows as a change later.
  const { rows: [{ shape } = { shape: '' }] } = relation.is_readable ? await client.query<{ shape: string }>(shapeSql(module, { isPlain: false }).text) : { rows: [] };
  return {
    shape,
    kind: relation.kind,
    isPlain: relation.is_plain,
    isPermanent: relation.is_permanent,
    isRowSecurityActive: relation.is_row_security_active,
    hasHeirs: relation.has_heirs,
    hasKeyIndex: relation.has_key_index,
    hasDeferrableKeyIndex: relation.has_deferrable_key_index,
    rules: relation.rules,
    cascades: relation.cascades,
    triggers: relation.triggers,
    deferredTriggers: relation.deferred_triggers,
    updateCascades: relation.update_cascades,
    refusals: [...(await refusals(client, module)), ...(await stageRefusals(client, relation.missing_grants))],
    nullRefusals: await nullRefusals(client, module, relation.oid),
    foreignChecks: relation.foreign_checks,
    unsteadyChecks: relation.unsteady_checks,
    hasInsertTrigger: relation.has_insert_trigger,
    missingGrants: relation.missing_grants,
    columns: await describeColumns(client, relation.oid),
  };
}

/** The columns of a relation, by name. */
export async function describeColumns(client: Client, oid: string): Promise<Map<string, DescribedColumn>> {
  const { rows } = await client.query<ColumnRow>(columnsSql, [oid]);
  return new Map(rows.map((row) => [row.name, described(row)]));
}

type Relation = {
  oid: string;
  kind: string;
  is_readable: boolean;
  is_plain: boolean;
  is_permanent: boolean;
  is_row_security_active: boolean;
  has_heirs: boolean;
  has_key_index: boolean;
  has_deferrable_key_index: boolean;
  rules: string[];
  cascades: string[];
  triggers: string[];
  deferred_triggers: string[];
  update_cascades: { column: string; what: string }[];
  foreign_checks: string[];
  unsteady_checks: string[];
  has_insert_trigger: boolean;
  missing_grants: string[];
};

// Since Postgres 18 a constraint may be one that is not enforced.
const isEnforced = `coalesce((to_jsonb(k) ->> 'conenforced')::boolean, true)`;

// What an expression of Postgres's own that asks for the time is shown as.
const clock = String.raw`\m(CURRENT_(DATE|TIME|TIMESTAMP)|LOCALTIME(STAMP)?|(now|timeofday|(clock|statement|transaction)_timestamp)\(\))`;

// A trigger with these bits is for each row (1), before (2), for inserts (4), for removals (8), for updates (16). An index that ON CONFLICT can use is unique, valid, immediate, whole and of the column alone.
const relationSql = `
  select c.oid::text as oid, c.relkind::text as kind,
    c.relkind = 'r' and not exists (select from pg_attribute a where a.attrelid = c.oid and a.atttypid >= ${FIRST_OWN_OID})
      and not exists (select from pg_trigger t where t.tgrelid = c.oid and not t.tgisinternal)
      and not exists (select from pg_constraint k join pg_depend d on d.classid = 'pg_constraint'::regclass and d.objid = k.oid and d.refclassid = 'pg_proc'::regclass where k.conrelid = c.oid and k.contype = 'c') as is_plain,
    c.relpersistence = 'p' as is_permanent, row_security_active(c.oid) as is_row_security_active,
    has_schema_privilege(n.oid, 'usage') and has_any_column_privilege(c.oid, 'select') as is_readable,
    c.relkind <> 'p' and exists (select from pg_inherits h where h.inhparent = c.oid) as has_heirs,
    exists (select from pg_index i join pg_attribute a on a.attrelid = c.oid and a.attname = $3 and not a.attisdropped
      where i.indrelid = c.oid and i.indisunique and i.indisvalid and i.indimmediate and i.indpred is null and i.indexprs is null and i.indnkeyatts = 1 and i.indkey[0] = a.attnum) as has_key_index,
    exists (select from pg_index i join pg_attribute a on a.attrelid = c.oid and a.attname = $3 and not a.attisdropped
      where i.indrelid = c.oid and i.indisunique and not i.indimmediate and i.indnkeyatts = 1 and i.indkey[0] = a.attnum) as has_deferrable_key_index,
    array(select r.rulename::text from pg_rewrite r where r.ev_class = c.oid and r.ev_type in ('2', '3', '4') order by 1) as rules,
    array(select distinct conrelid::regclass::text from pg_constraint k
      where contype = 'f' and ${isEnforced} and (confrelid = c.oid or confrelid in (select relid from pg_partition_tree(c.oid))) and confdeltype in ('c', 'n', 'd') order by 1) as cascades,
    array(select distinct t.tgname::text from pg_trigger t where (t.tgrelid = c.oid or t.tgrelid in (select relid from pg_partition_tree(c.oid)))
      and not t.tgisinternal and t.tgenabled in ('O', 'A') and t.tgtype & 28 <> 0 order by 1) as triggers,
    array(select distinct format('%I.%I', kn.nspname, k.conname) from pg_trigger t join pg_constraint k on k.oid = t.tgconstraint join pg_namespace kn on kn.oid = k.connamespace
      where (t.tgrelid = c.oid or t.tgrelid in (select relid from pg_partition_tree(c.oid))) and not t.tgisinternal and t.tgenabled in ('O', 'A') and t.tgdeferrable order by 1) as deferred_triggers,
    (select coalesce(json_agg(json_build_object('column', a.attname, 'what', format('%s of %s on update %s', k.conname, k.conrelid::regclass,
        case k.confupdtype when 'c' then 'cascade' when 'n' then 'set null' else 'set default' end)) order by a.attname, k.conname), '[]')
      from pg_constraint k join pg_attribute a on a.attrelid = k.confrelid and a.attnum = any(k.confkey)
      where k.contype = 'f' and ${isEnforced} and (k.confrelid = c.oid or k.confrelid in (select relid from pg_partition_tree(c.oid))) and k.conparentid = 0 and k.confupdtype in ('c', 'n', 'd')) as update_cascades,
    array(select distinct k.conname::text from pg_constraint k where k.contype = 'c' and ${isEnforced} and (k.conrelid = c.oid or k.conrelid in (select relid from pg_partition_tree(c.oid)))
      and (0 = any(k.conkey) or exists (select from pg_attribute a where a.attrelid = k.conrelid and a.attnum = any(k.conkey) and a.attname <> all($5::text[]))) order by 1) as foreign_checks,
    array(with recursive types as (
        select t.oid, t.typtype, t.typbasetype from pg_attribute a join pg_type t on t.oid = a.atttypid where a.attrelid = c.oid and a.attnum > 0
        union select t.oid, t.typtype, t.typbasetype from types d join pg_type t on t.oid = d.typbasetype where d.typtype = 'd')
      select distinct k.conname::text from pg_constraint k
      where k.contype = 'c' and (k.conrelid = c.oid or k.conrelid in (select relid from pg_partition_tree(c.oid)) or k.contypid in (select oid from types))
        and (pg_get_constraintdef(k.oid) ~ '${clock}' or exists (select from pg_depend d join pg_proc f on f.oid = d.refobjid
          where d.classid = 'pg_constraint'::regclass and d.objid = k.oid and d.refclassid = 'pg_proc'::regclass and f.provolatile <> 'i')) order by 1) as unsteady_checks,
    exists (select from pg_trigger t where t.tgrelid = c.oid and not t.tgisinternal and t.tgenabled <> 'D' and t.tgtype & 7 = 7) as has_insert_trigger,
    array(
      select 'grant usage on schema ' || quote_ident(n.nspname) where not has_schema_privilege(n.oid, 'usage') union all
      select 'grant temporary on database ' || quote_ident(current_database()) where not has_database_privilege(current_database(), 'temp') union all
      select 'grant delete on ' || c.oid::regclass where $4 and not has_table_privilege(c.oid, 'delete') union all
      select 'grant usage on sequence ' || s.refobjid::regclass from pg_attrdef f join pg_depend s on s.classid = 'pg_attrdef'::regclass and s.objid = f.oid and s.refclassid = 'pg_class'::regclass
        join pg_class q on q.oid = s.refobjid where f.adrelid = c.oid and case when q.relkind = 'S' then not has_sequence_privilege(q.oid, 'usage, update') else false end) as missing_grants
  from pg_class c join pg_namespace n on n.oid = c.relnamespace where n.nspname = $1 and c.relname = $2`;

// A wrong state (55000) such as a missing replica identity, and a publication's filter over other columns than that has (42P10).
const refusesEach = new Set(['55000', '42P10']);

/** Whether Postgres would refuse any update or removal is known when it begins to execute one; `explain` goes so far, and runs no trigger. */
async function refusals(client: Client, { table: { schema, name }, modifiedTimeColumn, onDelete }: ModuleDefinition): Promise<string[]> {
  const table = `"${schema}"."${name}"`;
  const writes = [`update ${table} set "${modifiedTimeColumn}" = "${modifiedTimeColumn}"`, ...(onDelete.action === 'remove' ? [`delete from ${table}`] : [])];
  const found: string[] = [];
  for (const write of writes) {
    const error = await errorOf(client, `explain ${write}`);
    if (error !== null && refusesEach.has(sqlState(error))) found.push([error.message, (error as { detail?: string }).detail, (error as { hint?: string }).hint].filter((part) => typeof part === 'string').join('; '));
  }
  return found;
}

/** Batches are staged in temporary tables; beside the privilege, an event trigger may keep this user from making one. */
async function stageRefusals(client: Client, missingGrants: readonly string[]): Promise<string[]> {
  if (missingGrants.some((grant) => grant.startsWith('grant temporary'))) return [];
  const error = await errorOf(client, 'create temporary table if not exists stage_of_nothing () on commit drop');
  return error === null || isTransient(error) ? [] : [`no temporary table can be made, and rows are staged in one: ${error.message}; let the event trigger except temporary tables, or this user`];
}

/*
 * Columns that every insert leaves out are null in each new row, and so is the mark of a deletion. INSERT holds their domains to their checks and COPY does not, so a domain that refuses null would be
 * noticed by one way only. A check that involves other columns depends on the row, and is not tried.
 */
async function nullRefusals(client: Client, module: ModuleDefinition, oid: string): Promise<string[]> {
  const { rows } = await client.query<{ refusal: string; probe: string }>(nullProbesSql, [oid, columnsWritten(module), deletedColumn(module)[0] ?? '']);
  const found: string[] = [];
  for (const { refusal, probe } of rows) if (await isRefused(client, probe)) found.push(refusal);
  return found;
}

const deletedColumn = ({ onDelete }: ModuleDefinition): string[] => (onDelete.action === 'mark' ? [onDelete.deletedColumn] : []);

/** Those that get a value. */
const columnsWritten = ({ keyColumn, modifiedTimeColumn, fields }: ModuleDefinition): string[] => [keyColumn, modifiedTimeColumn, ...fields.map(({ column }) => column)];

const nullProbesSql = `
  with left_out as (
    select a.attname, a.attnum, ty.typtype, format('%I.%I', n.nspname, ty.typname) as type
    from pg_attribute a join pg_type ty on ty.oid = a.atttypid join pg_namespace n on n.oid = ty.typnamespace
    where a.attrelid = $1 and a.attnum > 0 and not a.attisdropped and not a.attnotnull and not ty.typnotnull and a.attname <> all($2)
      and (a.attname = $3 or (not a.atthasdef and a.attidentity = '' and ty.typdefault is null)))
  select format('column %s is null in each new row, and its domain refuses null', attname) as refusal, format('select null::%s is not null as is_refused', type) as probe from left_out where typtype = 'd'
  union all
  select format('check %s refuses null in what is null in each new row (%s)', k.conname, string_agg(o.attname, ', ')),
    format('select (%s) is false as is_refused from (select %s) as %I', pg_get_expr(k.conbin, k.conrelid), string_agg(format('null::%s as %I', o.type, o.attname), ', '), c.relname)
  from pg_constraint k join pg_class c on c.oid = k.conrelid join pg_attribute ka on ka.attrelid = c.oid and ka.attnum = any(k.conkey) join left_out o on o.attname = ka.attname
  where ${isEnforced} and k.contype = 'c' and (k.conrelid = $1 or (k.coninhcount = 0 and k.conrelid in (select relid from pg_partition_tree($1))))
  group by k.oid, k.conname, k.conbin, k.conrelid, k.conkey, c.relname having count(*) = cardinality(k.conkey)`;

/** Whether a question about null is answered with yes, or cannot be asked because the domain refuses null (class 23). */
async function isRefused(client: Client, probe: string): Promise<boolean> {
  try {
    const { rows: [row] } = await client.query<{ is_refused: boolean | null }>(probe);
    return row?.is_refused === true;
  } catch (error) {
    return sqlState(error).startsWith('23');
  }
}

async function errorOf(client: Client, sql: string): Promise<Error | null> {
  try {
    await client.query(sql);
    return null;
  } catch (error) {
    return error as Error;
  }
}

type ColumnRow = {
  name: string;
  type: string;
  shown: string;
  base: string;
  modifier: number;
  counts_bytes: boolean;
  is_not_null: boolean;
  has_default: boolean;
  is_generated: boolean;
  is_identity_always: boolean;
  default_acts: boolean;
  forbidden: string[];
};

// A domain's modifier is that of the type below it.
const columnsSql = `
  select a.attname::text as name, format('%I.%I', tn.nspname, ty.typname) as type, format_type(a.atttypid, a.atttypmod) as shown,
    case when b.typtype = 'e' then 'enum' when b.typname = 'citext' then 'citext' when bn.nspname = 'pg_catalog' then b.typname::text else 'other' end as base,
    b.modifier, getdatabaseencoding() = 'SQL_ASCII' as counts_bytes, a.attnotnull or b.is_not_null
      or exists (select from pg_partition_tree(a.attrelid) p join pg_attribute o on o.attrelid = p.relid and o.attname = a.attname where o.attnotnull) as is_not_null, a.atthasdef or a.attidentity <> '' or b.has_default as has_default,
    a.attgenerated <> '' as is_generated, a.attidentity = 'a' as is_identity_always,
    a.attidentity <> '' or exists (select from pg_attrdef f join pg_depend d on d.classid = 'pg_attrdef'::regclass and d.objid = f.oid where f.adrelid = a.attrelid and f.adnum = a.attnum
      and (d.refclassid = 'pg_proc'::regclass or exists (select from pg_class q where d.refclassid = 'pg_class'::regclass and q.oid = d.refobjid and q.relkind = 'S'))) as default_acts,
    array(select p from unnest(array['select', 'insert', 'update']) p where not has_column_privilege(a.attrelid, a.attnum, p)
      union all select 'usage' where not (has_type_privilege(a.atttypid, 'usage') and has_schema_privilege(tn.oid, 'usage'))) as forbidden
  from pg_attribute a join pg_type ty on ty.oid = a.atttypid join pg_namespace tn on tn.oid = ty.typnamespace
    cross join lateral (
      with recursive below as (
        select t.oid, t.typtype, t.typname, t.typnamespace, t.typbasetype, t.typtypmod, a.atttypmod as modifier, t.typnotnull as is_not_null, t.typdefault is not null as has_default
        from pg_type t where t.oid = a.atttypid
        union all
        select t.oid, t.typtype, t.typname, t.typnamespace, t.typbasetype, t.typtypmod, below.typtypmod, below.is_not_null or t.typnotnull, below.has_default or t.typdefault is not null
        from below join pg_type t on t.oid = below.typbasetype where below.typtype = 'd')
      select * from below where typtype <> 'd') b
    join pg_namespace bn on bn.oid = b.typnamespace
  where a.attrelid = $1 and a.attnum > 0 and not a.attisdropped`;

const described = (row: ColumnRow): DescribedColumn => ({
  name: row.name,
  type: row.type,
  shown: row.shown,
  base: row.base,
  modifier: row.modifier,
  countsBytes: row.counts_bytes,
  isNotNull: row.is_not_null,
  hasDefault: row.has_default,
  isGenerated: row.is_generated,
  isIdentityAlways: row.is_identity_always,
  defaultActs: row.default_acts,
  forbidden: row.forbidden,
});
