import { columnOf, type ModuleProjection } from '@lockstep/projection';

import { quote } from '../quote.ts';
import type { FieldFold } from './field-fold.ts';

/** How a column is compared with what the log says of it. */
export type ComparedColumn = {
  readonly column: string;
  /** Which of a row's contents it comes from. */
  readonly layer: number;
  /** Whether the two values differ, in the table `t` and by the log `e`. */
  readonly differs: string;
  /** The value that stands, as text. */
  readonly standing: string;
};

/** Rows whose fields come from contents of certain coverages, one above the other, as a query on the temporary tables of a fold. */
export type FieldRows = {
  /** Selects `record_id`, `log_offset`, `offsets`, `key`, each with a blank before its name, and the columns that the contents speak of. */
  readonly sql: string;
  readonly columns: readonly ComparedColumn[];
  /** Whether anything that is compared differs; `false` where nothing is. */
  readonly differs: string;
  /** Columns that may not be null, and are. */
  readonly isNull: string;
};

/**
 * One query for each layering of a fold.
 * @param existing the columns that the table has; another counts as null.
 * @param retyped columns that are to get another type: their values are compared as texts.
 */
export function fieldRows(fold: FieldFold, { module: { keyColumn, fields }, table }: ModuleProjection, existing: ReadonlySet<string>, retyped: ReadonlySet<string>): FieldRows[] {
  return fold.layerings.map((layering, index) => {
    const spoken = layering.map((coverage) => fold.spokenBy(coverage));
    const mapped = fields.flatMap((one) => {
      const layer = spoken.findIndex((names) => names.has(one.field));
      return layer < 0 ? [] : [{ ...one, layer }];
    });
    // A column that a trigger may change is written once as well.
    const columns = mapped.map(({ column, layer }): ComparedColumn => ({ column, layer, ...comparison(column, existing, retyped) }));
    const notNull = mapped.filter(({ column }) => columnOf(table, column).isNotNull);
    const joins = layering.map((_, layer) => `join pg_temp.field_content l${layer} on l${layer}." offset" = s.layers[${layer + 1}]`);
    return {
      sql: `select s.record_id as " record_id", s.log_offset as " log_offset", s.layers as " offsets", l0.${quote(keyColumn)} as " key"${mapped.map(({ column, layer }) => `, l${layer}.${quote(column)}`).join('')}
        from pg_temp.field_register s ${joins.join(' ')} where s.layering = ${index}`,
      columns,
      differs: columns.length === 0 ? 'false' : `(${columns.map(({ differs }) => differs).join(' or ')})`,
      isNull: notNull.length === 0 ? 'false' : `(${notNull.map(({ column }) => `e.${quote(column)} is null`).join(' or ')})`,
    };
  });
}

function comparison(column: string, existing: ReadonlySet<string>, retyped: ReadonlySet<string>): Pick<ComparedColumn, 'differs' | 'standing'> {
  const [t, e] = [`t.${quote(column)}`, `e.${quote(column)}`];
  if (!existing.has(column)) return { differs: `${e} is not null`, standing: 'null::text' };
  // Byte by byte, as the projector does: see write-plan.ts of projection.
  const differs = retyped.has(column) ? `(${t}::text is distinct from ${e}::text)` : `row(${t})::record operator(pg_catalog.*<>) row(${e})::record`;
  return { differs, standing: `${t}::text` };
}
