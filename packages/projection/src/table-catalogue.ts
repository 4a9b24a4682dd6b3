import type { ModuleDefinition } from '@lockstep/modules';
import type { PoolClient } from 'pg';

import type { DescribedColumn, DescribedTable } from './described-table.ts';
import { prepared, type Prepared } from './statements.ts';

type Client = Pick<PoolClient, 'query'>;

/**
 * Reads what a table is, in one word, by the versions of its catalogue rows: it changes with each column, index, trigger, rule and the owner of the table. It names the table,
 * so the transaction that asks holds a lock that keeps the table as it is until its end.
 */
export const shapeSql = ({ table: { schema, name } }: ModuleDefinition): Prepared => prepared(`
  select pg_catalog.concat_ws(' ', c.oid, c.relkind, c.relpersistence, c.relowner, c.relrowsecurity, c.relforcerowsecurity, c.relhasrules, c.relhassubclass,
    (select pg_catalog.string_agg(a.xmin::pg_catalog.text, ',' order by a.attnum) from pg_catalog.pg_attribute a where a.attrelid = c.oid and a.attnum > 0),
    (select pg_catalog.string_agg(pg_catalog.concat(i.indexrelid, ':', i.xmin), ',' order by i.indexrelid) from pg_catalog.pg_index i where i.indrelid = c.oid),
    (select pg_catalog.string_agg(pg_catalog.concat(t.oid, ':', t.xmin), ',' order by t.oid) from pg_catalog.pg_trigger t where t.tgrelid = c.oid)) as shape
  from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
  where n.nspname = '${schema}' and c.relname = '${name}' and not exists (select from "${schema}"."${name}" where false)`);

/** @returns the table as the catalogue has it now, or null where there is none. */
export async function describeTable(client: Client, module: ModuleDefinition): Promise<DescribedTable | null> {
  const { schema, name } = module.table;
  const { rows: [relation] } = await client.query<Relation>(relationSql, [schema, name, module.keyColumn, module.onDelete.action === 'remove']);
  if (relation === undefined) return null;
  // The shape first: what changes in between shows as a change later.
  const { rows: [{ shape } = { shape: '' }] } = relation.is_readable ? await client.query<{ shape: string }>(shapeSql(module).text) : { rows: [] };
  const { rows } = await client.query<ColumnRow>(columnsSql, [relation.oid]);
  return {
    shape,
    kind: relation.kind,
    isPermanent: relation.is_permanent,
    isRowSecurityActive: relation.is_row_security_active,
    hasHeirs: relation.has_heirs,
    hasKeyIndex: relation.has_key_index,
    rules: relation.rules,
    cascades: relation.cascades,
    rowTriggers: relation.row_triggers,
    hasInsertTrigger: relation.has_insert_trigger,
    missingGrants: relation.missing_grants,
    columns: new Map(rows.map((row) => [row.name, described(row)])),
  };
}

type Relation = {
  oid: string;
  kind: string;
  is_readable: boolean;
  is_permanent: boolean;
  is_row_security_active: boolean;
  has_heirs: boolean;
  has_key_index: boolean;
  rules: string[];
  cascades: string[];
  row_triggers: string[];
  has_insert_trigger: boolean;
  missing_grants: string[];
};

// A trigger with these bits is for each row (1), before (2), and for inserts (4). An index that ON CONFLICT can use is unique, valid, immediate, whole and of the column alone.
const relationSql = `
  select c.oid::text as oid, c.relkind::text as kind, c.relpersistence = 'p' as is_permanent, row_security_active(c.oid) as is_row_security_active,
    has_schema_privilege(n.oid, 'usage') and has_any_column_privilege(c.oid, 'select') as is_readable,
    c.relkind <> 'p' and exists (select from pg_inherits h where h.inhparent = c.oid) as has_heirs,
    exists (select from pg_index i join pg_attribute a on a.attrelid = c.oid and a.attname = $3 and not a.attisdropped
      where i.indrelid = c.oid and i.indisunique and i.indisvalid and i.indimmediate and i.indpred is null and i.indexprs is null and i.indnkeyatts = 1 and i.indkey[0] = a.attnum) as has_key_index,
    array(select r.rulename::text from pg_rewrite r where r.ev_class = c.oid and r.ev_type in ('2', '3', '4') order by 1) as rules,
    array(select distinct conrelid::regclass::text from pg_constraint
      where contype = 'f' and confrelid = c.oid and confdeltype in ('c', 'n', 'd') order by 1) as cascades,
    array(select t.tgname::text from pg_trigger t where t.tgrelid = c.oid and not t.tgisinternal and t.tgenabled <> 'D' and t.tgtype & 3 = 3 order by 1) as row_triggers,
    exists (select from pg_trigger t where t.tgrelid = c.oid and not t.tgisinternal and t.tgenabled <> 'D' and t.tgtype & 7 = 7) as has_insert_trigger,
    array(
      select 'grant usage on schema ' || quote_ident(n.nspname) where not has_schema_privilege(n.oid, 'usage') union all
      select 'grant temporary on database ' || quote_ident(current_database()) where not has_database_privilege(current_database(), 'temp') union all
      select 'grant delete on ' || c.oid::regclass where $4 and not has_table_privilege(c.oid, 'delete') union all
      select 'grant usage on sequence ' || s.refobjid::regclass from pg_attrdef f join pg_depend s on s.classid = 'pg_attrdef'::regclass and s.objid = f.oid and s.refclassid = 'pg_class'::regclass
        join pg_class q on q.oid = s.refobjid where f.adrelid = c.oid and case when q.relkind = 'S' then not has_sequence_privilege(q.oid, 'usage, update') else false end) as missing_grants
  from pg_class c join pg_namespace n on n.oid = c.relnamespace where n.nspname = $1 and c.relname = $2`;

type ColumnRow = {
  name: string;
  type: string;
  shown: string;
  base: string;
  modifier: number;
  is_not_null: boolean;
  has_default: boolean;
  is_generated: boolean;
  is_identity_always: boolean;
  forbidden: string[];
};

// A domain's modifier is that of the type below it.
const columnsSql = `
  select a.attname::text as name, format('%I.%I', tn.nspname, ty.typname) as type, format_type(a.atttypid, a.atttypmod) as shown,
    case when b.typtype = 'e' then 'enum' when b.typname = 'citext' then 'citext' when bn.nspname = 'pg_catalog' then b.typname::text else 'other' end as base,
    b.modifier, a.attnotnull or b.is_not_null as is_not_null, a.atthasdef or a.attidentity <> '' or b.has_default as has_default,
    a.attgenerated <> '' as is_generated, a.attidentity = 'a' as is_identity_always,
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
  isNotNull: row.is_not_null,
  hasDefault: row.has_default,
  isGenerated: row.is_generated,
  isIdentityAlways: row.is_identity_always,
  forbidden: row.forbidden,
});
