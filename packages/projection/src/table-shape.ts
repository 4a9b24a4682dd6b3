import type { ModuleDefinition } from '@lockstep/modules';

import { prepared, type Prepared } from './statements.ts';

// What has a lower number is built in, and never changes.
export const FIRST_OWN_OID = 16_384;

/** Versions of the functions that a constraint (`k`) calls. What those call in turn is not known. */
const calledFunctions = `(select pg_catalog.string_agg(pg_catalog.concat('+', f.xmin), '' order by f.oid) from pg_catalog.pg_depend d join pg_catalog.pg_proc f on f.oid = d.refobjid
      where d.classid = 'pg_catalog.pg_constraint'::pg_catalog.regclass and d.objid = k.oid and d.refclassid = 'pg_catalog.pg_proc'::pg_catalog.regclass)`;

const constraintsWith = (more: string): string => `pg_catalog.string_agg(pg_catalog.concat(k.oid, ':', k.xmin${more}), ',' order by k.oid)`;
const constraints = constraintsWith(`, ${calledFunctions}`);
const calledFunction = `case when not t.tgisinternal then (select pg_catalog.concat('+', f.xmin) from pg_catalog.pg_proc f where f.oid = t.tgfoid) end`;
const triggersWith = (more: string): string => `pg_catalog.string_agg(pg_catalog.concat(t.oid, ':', t.xmin${more}), ',' order by t.oid)`;
const triggers = triggersWith(`, ${calledFunction}`);

/** What a column's type takes: of an enum its values, of a domain its checks and those of the type below it. */
const type = `(with recursive below (id, changed, kind, base) as (
      select t.oid, t.xmin, t.typtype, t.typbasetype from pg_catalog.pg_type t where t.oid = a.atttypid
      union all select t.oid, t.xmin, t.typtype, t.typbasetype from below b join pg_catalog.pg_type t on t.oid = b.base where b.kind = 'd')
    select pg_catalog.string_agg(pg_catalog.concat('/', b.id, ':', b.changed, (select ${constraints} from pg_catalog.pg_constraint k where k.contypid = b.id),
      (select pg_catalog.string_agg(pg_catalog.concat('*', e.xmin), '' order by e.oid) from pg_catalog.pg_enum e where e.enumtypid = b.id)), '') from below b)`;

const columnWithType = `pg_catalog.concat(a.xmin, case when a.atttypid >= ${FIRST_OWN_OID} then ${type} end)`;

const ofPartitions = `,
    case when c.relkind = 'p' then pg_catalog.concat_ws(' ', (select pg_catalog.string_agg(p.relid::pg_catalog.oid::pg_catalog.text, ',' order by p.relid) from pg_catalog.pg_partition_tree(c.oid) p),
      (select ${triggers} from pg_catalog.pg_partition_tree(c.oid) p join pg_catalog.pg_trigger t on t.tgrelid = p.relid),
      (select ${constraints} from pg_catalog.pg_partition_tree(c.oid) p join pg_catalog.pg_constraint k on k.conrelid = p.relid and k.contype = 'c'),
      (select pg_catalog.string_agg(pg_catalog.concat(a.attrelid, ':', a.xmin), ',' order by a.attrelid, a.attnum)
        from pg_catalog.pg_partition_tree(c.oid) p join pg_catalog.pg_attribute a on a.attrelid = p.relid and a.attnum > 0 and a.attnotnull)) end`;

/**
 * Reads what a table is, in one word, by the versions of its catalogue rows: it changes with each column, type, index, trigger, check, rule, partition and the owner of the table, and with the
 * functions that triggers and checks call. It names the table, so the transaction that asks holds a lock that keeps the table as it is until its end.
 * @param isPlain leaves out what a plain table does not have (see `DescribedTable`), and costs half as much: each batch asks. The word is the same for as long as it is plain.
 */
export const shapeSql = ({ table: { schema, name } }: ModuleDefinition, { isPlain }: { readonly isPlain: boolean }): Prepared => prepared(`
  select pg_catalog.concat_ws(' ', c.oid, c.relkind, c.relpersistence, c.relowner, c.relrowsecurity, c.relforcerowsecurity, c.relhasrules, c.relhassubclass,
    (select pg_catalog.string_agg(${isPlain ? 'a.xmin::pg_catalog.text' : columnWithType}, ',' order by a.attnum) from pg_catalog.pg_attribute a where a.attrelid = c.oid and a.attnum > 0),
    (select pg_catalog.string_agg(pg_catalog.concat(i.indexrelid, ':', i.xmin), ',' order by i.indexrelid) from pg_catalog.pg_index i where i.indrelid = c.oid),
    (select ${isPlain ? triggersWith('') : triggers} from pg_catalog.pg_trigger t where t.tgrelid = c.oid),
    (select ${isPlain ? constraintsWith('') : constraints} from pg_catalog.pg_constraint k where k.conrelid = c.oid and k.contype = 'c')${isPlain ? '' : ofPartitions}) as shape
  from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
  where n.nspname = '${schema}' and c.relname = '${name}' and not exists (select from "${schema}"."${name}" where false)`);
