import { columnOf, type ModuleProjection } from '@lockstep/projection';
import type { PoolClient } from 'pg';

import { quote } from './quote.ts';
import type { Layering } from './shadow.ts';

/** The rows that are made of contents of certain coverages, one above the other, as a query on the shadow. */
export type ExpectedRows = {
  readonly index: number;
  /** Selects `record_id`, `key`, `partition`, `offsets` (one for each layer) and the columns that the contents speak of. */
  readonly sql: string;
  /** Those columns, each with the layer it comes from. */
  readonly written: readonly LayeredColumn[];
  /** Those of them that are compared, the spelling of the key too: a column that a trigger may change is not. */
  readonly compared: readonly LayeredColumn[];
  /** Whether two rows differ in what is compared. */
  readonly differs: (one: string, other: string) => string;
};

type LayeredColumn = { readonly column: string; readonly layer: number };

/** A field comes from the newest content that speaks of it, and is left alone where none does. */
export async function expectedRows(client: PoolClient, projection: ModuleProjection, index: number, layering: Layering): Promise<ExpectedRows> {
  const { module: { keyColumn, modifiedTimeColumn, onDelete, fields } } = projection;
  const spoken: ReadonlySet<string>[] = [];
  for (const coverage of layering) spoken.push(new Set(await projection.fieldsOf(client, coverage)));
  const mapped = fields.flatMap(({ field, column, onTriggerChange }) => {
    const layer = spoken.findIndex((names) => names.has(field));
    return layer < 0 ? [] : [{ column, layer, isCompared: onTriggerChange !== 'accept' }];
  });
  const deleted = onDelete.action === 'mark' ? [onDelete.deletedColumn] : [];
  const own = [{ column: keyColumn, layer: 0 }, { column: modifiedTimeColumn, layer: 0 }];
  const marks = deleted.map((column) => ({ column, layer: 0 }));
  const valueOf = ({ column, layer }: LayeredColumn): string =>
    deleted.includes(column) ? `s.deleted_at::${columnOf(projection.table, column).type} as ${quote(column)}` : `l${layer}.${quote(column)}`;
  const written = [...own, ...marks, ...mapped];
  const joins = layering.map((_, layer) => `join shadow_content l${layer} on l${layer}." partition" = s.log_partition and l${layer}." offset" = s.layers[${layer + 1}]`);
  const compared = [...own, ...marks, ...mapped.filter(({ isCompared }) => isCompared)];
  return {
    index,
    sql: `select s.record_id as " record_id", s.key as " key", s.log_partition as " partition", s.layers as " offsets", ${written.map(valueOf).join(', ')} from shadow_register s ${joins.join(' ')} where s.has_row and s.layering = ${index}`,
    written,
    compared,
    differs: (one, other) => [one, other].map((of) => `row(${compared.map(({ column }) => `${of}.${quote(column)}`).join(', ')})::record`).join(' operator(pg_catalog.*<>) '),
  };
}
