import type { ModuleDefinition } from '@lockstep/modules';
import { copyInto } from '@lockstep/postgres';
import type { PoolClient } from 'pg';

import { winnersAsCopyText } from './copy-rows.ts';
import type { Decision } from './decide.ts';
import type { ModuleProjection } from './module-projection.ts';
import { quoted } from './statements.ts';

/** A unique index of a legacy table whose conflicts are reported at once (not deferrable). */
export type UniqueIndex = {
  /** What `on conflict` names it by: its keys and its predicate. */
  readonly arbiter: string;
  /**
   * Columns that it depends on and that may be emptied for a moment, keys first: they may be null, and no foreign key refers to them, not even by way of a generated
   * column. Never the record's key, nor an identity.
   */
  readonly releasable: readonly string[];
};

/** A foreign key of a table to itself: the columns that point, those that they point to, and the operators by which a referred value equals a pointing one, side by side. */
export type SelfReference = { readonly columns: readonly string[]; readonly referred: readonly string[]; readonly operators: readonly string[] };

/** What a legacy table's constraints have to do with each other's rows. */
export type TableConstraints = {
  /** By index name, those of partitions included. */
  readonly uniqueIndexes: ReadonlyMap<string, UniqueIndex>;
  /** By name, the foreign keys by which the table's rows point to each other. */
  readonly selfReferences: ReadonlyMap<string, SelfReference>;
  /** Of each deferrable constraint a query for the rows that the row with key `$1` conflicts with, or lacks, as `id`. */
  readonly partnersOf: readonly string[];
};

/** Reads a legacy table's constraints from the catalogue. */
export async function readConstraints(client: PoolClient, module: ModuleDefinition): Promise<TableConstraints> {
  return { uniqueIndexes: await readUniqueIndexes(client, module), selfReferences: await readSelfReferences(client, module), partnersOf: await readPartnerQueries(client, module) };
}

type IndexRow = { names: string[]; keys: string; predicate: string | null; releasable: string[] };

async function readUniqueIndexes(client: PoolClient, { table: { schema, name }, keyColumn }: ModuleDefinition): Promise<Map<string, UniqueIndex>> {
  const { rows } = await client.query<IndexRow>(
    `with t as (select format('%I.%I', $1::text, $2::text)::regclass as id),
     generated as (
       select g.attnum, d.refobjsubid as base from t join pg_attribute g on g.attrelid = t.id and g.attgenerated <> ''
       join pg_attrdef f on f.adrelid = t.id and f.adnum = g.attnum
       join pg_depend d on d.refclassid = 'pg_class'::regclass and d.refobjid = t.id and d.refobjsubid not in (0, g.attnum)
         and ((d.classid = 'pg_attrdef'::regclass and d.objid = f.oid) or (d.classid = 'pg_class'::regclass and d.objid = t.id and d.objsubid = g.attnum))),
     referenced as (
       select a.attnum from t join (select id as relid from t union select p.relid from t, pg_partition_tree(t.id) p) whole on true
       join pg_constraint k on k.contype = 'f' and k.confrelid = whole.relid join pg_attribute o on o.attrelid = k.confrelid and o.attnum = any(k.confkey)
       join pg_attribute a on a.attrelid = t.id and a.attname = o.attname),
     kept as (select attnum from referenced union select g.base from generated g join referenced r on r.attnum = g.attnum),
     used as (
       select i.indexrelid, k.attnum, k.place from t join pg_index i on i.indrelid = t.id
       cross join lateral (select unnest(i.indkey[0:i.indnkeyatts - 1]) as attnum, 0 as place
         union all select d.refobjsubid, 1 from pg_depend d where d.classid = 'pg_class'::regclass and d.objid = i.indexrelid and d.refobjid = t.id and d.refobjsubid > 0) k),
     bases as (
       select u.indexrelid, coalesce(g.base, u.attnum) as attnum, min(u.place) as place from used u left join generated g on g.attnum = u.attnum group by 1, 2)
     select array(select c.relname::text from pg_class c where c.oid = i.indexrelid
         union select c.relname::text from pg_partition_tree(i.indexrelid) p join pg_class c on c.oid = p.relid) as names,
       (select string_agg(pg_get_indexdef(i.indexrelid, k, true), ', ' order by k) from generate_series(1, i.indnkeyatts) k) as keys,
       pg_get_expr(i.indpred, i.indrelid, true) as predicate,
       coalesce(array_agg(a.attname::text order by b.place, a.attnum) filter (
         where not a.attnotnull and a.attidentity = '' and a.attname <> $3 and a.attnum not in (select attnum from kept)), '{}') as releasable
     from t join pg_index i on i.indrelid = t.id join bases b on b.indexrelid = i.indexrelid
     join pg_attribute a on a.attrelid = t.id and a.attnum = b.attnum and a.attnum > 0 and a.attgenerated = ''
     where i.indisunique and i.indimmediate and i.indisvalid
     group by i.indexrelid, i.indrelid, i.indnkeyatts, i.indpred`,
    [schema, name, keyColumn],
  );
  return new Map(rows.flatMap(({ names, keys, predicate, releasable }) => {
    const index: UniqueIndex = { arbiter: `(${keys})${predicate === null ? '' : ` where ${predicate}`}`, releasable };
    return names.map((one) => [one, index] as const);
  }));
}

async function readSelfReferences(client: PoolClient, { table: { schema, name } }: ModuleDefinition): Promise<Map<string, SelfReference>> {
  const { rows } = await client.query<SelfReference & { name: string }>(
    `select c.conname as name, ${columnsOf('conkey')} as columns, ${columnsOf('confkey')} as referred, ${operatorsOf('unnest(c.conpfeqop) with ordinality k (operator, n)')} as operators
     from pg_constraint c where c.contype = 'f' and c.conrelid = format('%I.%I', $1::text, $2::text)::regclass and c.confrelid = c.conrelid`,
    [schema, name],
  );
  return new Map(rows.map((row) => [row.name, row]));
}

/** The columns of a constraint (`c`) on one table, in their order. */
const columnsOf = (key: 'conkey' | 'confkey'): string =>
  `array(select a.attname::text from unnest(c.${key}) with ordinality k (attnum, n) join pg_attribute a on a.attrelid = c.conrelid and a.attnum = k.attnum order by k.n)`;

/** The operators of a constraint, in the order of its columns; a type such as citext may lie in a schema that is not on the search path. */
const operatorsOf = (from: string): string =>
  `array(select format('operator(%I.%s)', n.nspname, o.oprname) from ${from} join pg_operator o on o.oid = k.operator join pg_namespace n on n.oid = o.oprnamespace order by k.n)`;

// Strategy 3 of a B-tree is "equal".
const operatorsOfIndex = operatorsOf(`(select a.amopopr as operator, u.n from unnest(i.indclass) with ordinality u (opclass, n) join pg_opclass q on q.oid = u.opclass
  join pg_amop a on a.amopfamily = q.opcfamily and a.amopstrategy = 3 and a.amoplefttype = q.opcintype and a.amoprighttype = q.opcintype) k`);

type ConstraintRow = { type: 'u' | 'f'; columns: string[]; operators: string[]; nullsEqual: boolean };

/** Under a deferrable constraint the rows stand in the table together before they are checked, and can be compared there. */
async function readPartnerQueries(client: PoolClient, { table, keyColumn }: ModuleDefinition): Promise<string[]> {
  const { rows } = await client.query<ConstraintRow>(
    `select c.contype as type, coalesce(i.indnullsnotdistinct, false) as "nullsEqual",
       ${columnsOf('conkey')} as columns, case when c.contype = 'u' then ${operatorsOfIndex} else ${operatorsOf('unnest(c.conpfeqop) with ordinality k (operator, n)')} end as operators
     from pg_constraint c left join pg_index i on i.indexrelid = c.conindid and c.contype = 'u'
     where c.conrelid = format('%I.%I', $1::text, $2::text)::regclass and c.condeferrable and (c.contype = 'u' or (c.contype = 'f' and c.confrelid = c.conrelid
       and c.confkey = array[(select attnum from pg_attribute where attrelid = c.conrelid and attname = $3)]))`,
    [table.schema, table.name, keyColumn],
  );
  const [name, key] = [nameOf({ table }), `"${keyColumn}"`];
  return rows.map(({ type, columns, operators, nullsEqual }) => {
    const [first = ''] = columns.map(quoted);
    if (type === 'f') return `select m.${first}::text as id from ${name} m where m.${key} = $1 and m.${first} is not null and not exists (select from ${name} o where o.${key} ${operators[0]} m.${first})`;
    const equal = columns.map(quoted).map((column, i) => `(o.${column} ${operators[i]} m.${column}${nullsEqual ? ` or (o.${column} is null and m.${column} is null)` : ''})`).join(' and ');
    return `select o.${key}::text as id from ${name} m join ${name} o on o.${key} <> m.${key} and ${equal} where m.${key} = $1`;
  });
}

const nameOf = ({ table: { schema, name } }: Pick<ModuleDefinition, 'table'>): string => `"${schema}"."${name}"`;

/**
 * Whose row holds the value that a winner conflicts with: Postgres is asked by an upsert of the winner that is undone.
 * @returns the record's id; null when it cannot be found out.
 */
export async function holderOf(client: PoolClient, projection: ModuleProjection, winner: Decision['winners'][number], index: UniqueIndex): Promise<string | null> {
  await client.query('savepoint search');
  try {
    return await conflictingId(client, projection, winner, index);
  } catch {
    // Whatever it is: the winner waits. A connection that broke shows in the next statement.
    return null;
  } finally {
    await client.query('rollback to savepoint search; release savepoint search');
  }
}

async function conflictingId(client: PoolClient, projection: ModuleProjection, winner: Decision['winners'][number], { arbiter }: UniqueIndex): Promise<string | null> {
  const { module: { keyColumn, modifiedTimeColumn } } = projection;
  const plan = await projection.planFor(client, winner.record.coverage);
  const list = (names: readonly string[], of = ''): string => names.map((column) => `${of}${quoted(column)}`).join(', ');
  await client.query(`${plan.createStage}; delete from ${plan.stage}`);
  await copyInto(client, `${plan.stage} (${list(plan.columns)})`, winnersAsCopyText([winner], plan));
  // A column that is not written has the value of the row that stands, where this user may read and write it; where no row stands, its default.
  const { rowCount } = await client.query(`select from ${plan.table} where "${keyColumn}" = $1`, [winner.record.id]);
  const others = rowCount === 0 ? [] : [...projection.table.columns.values()].filter(({ name, isGenerated, forbidden }) => !isGenerated && !plan.columns.includes(name) && !forbidden.some((privilege) => privilege !== 'update')).map(({ name }) => name);
  const { rows } = await client.query<{ id: string }>(
    `insert into ${plan.table} as t (${list([...plan.columns, ...others])}) overriding system value
     select ${[list(plan.columns, 's.'), ...others.map((column) => `o.${quoted(column)}`)].join(', ')} from ${plan.stage} s left join ${plan.table} o on o."${keyColumn}" = s."${keyColumn}"
     on conflict ${arbiter} do update set "${modifiedTimeColumn}" = t."${modifiedTimeColumn}" returning t."${keyColumn}"::text as id`,
  );
  return rows[0]?.id ?? null;
}
