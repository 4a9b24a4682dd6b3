import type { ModuleSpec } from '../catalogue/catalogue.ts';
import { type FieldSpec, isFlat } from '../catalogue/field-spec.ts';
import type { Version } from '../api/world.ts';
import { ApiError } from '../errors.ts';
import { isDay, parseInstant, wholeSecond } from '../instants.ts';
import type { Comparable, Condition } from '../query/condition.ts';
import type { Selection } from '../query/select.ts';
import { keyPosition } from '../record-ids.ts';
import type { Expression, Literal, Query } from './parser.ts';

const limits = {
  columns: { 6: 50, 7: 500, 8: 500 },
  values: { 6: 50, 7: 100, 8: 100 },
  offset: { 6: 10_000, 7: 100_000, 8: 100_000 },
  rows: 2000,
  defaultRows: 200,
  criteria: 25,
  order: 10,
} as const;

const invalid = (message: string, details: Record<string, unknown>) => new ApiError(400, 'INVALID_QUERY', message, details);
const exceeded = (details: Record<string, unknown>) => new ApiError(400, 'LIMIT_EXCEEDED', 'limit exceeded', details);

/** Checks a parsed query against the module and the version's limits. @throws {ApiError} with the vendor's code. */
export function checkedQuery(query: Query, module: ModuleSpec, version: Version): Selection & { readonly columns: readonly FieldSpec[] } {
  if (query.columns.length > limits.columns[version]) throw exceeded({ limit: limits.columns[version], clause: 'select' });
  if (query.order.length > limits.order) throw exceeded({ limit: limits.order, clause: 'order by' });
  const duplicate = query.columns.find((name, at) => query.columns.indexOf(name) !== at);
  if (duplicate !== undefined) throw new ApiError(400, 'DUPLICATE_DATA', 'duplicate data', { column_name: duplicate });
  const limit = query.limit ?? limits.defaultRows;
  if (limit < 1 || limit > limits.rows) throw invalid('limit given seems to be invalid', { limit });
  const offset = query.offset ?? 0;
  if (offset + limit > limits.offset[version] + limits.rows) throw invalid('offset given seems to be invalid', { offset });
  const budget = { criteria: limits.criteria };
  return {
    columns: query.columns.map((name) => column(module, name, 'select')),
    where: condition(query.where, module, version, budget),
    order: query.order.map((term) => ({ field: column(module, term.column, 'order by'), descending: term.descending })),
    limit,
    offset,
  };
}

function column(module: ModuleSpec, name: string, clause: string): FieldSpec {
  const field = module.byName.get(name);
  if (field === undefined) throw invalid('column given seems to be invalid', { column_name: name, clause });
  if (!isFlat(field)) throw invalid('unsupported column', { column_name: name, clause });
  return field;
}

function condition(expression: Expression, module: ModuleSpec, version: Version, budget: { criteria: number }): Condition {
  if (expression.type !== 'compare') return { type: expression.type, parts: expression.parts.map((part) => condition(part, module, version, budget)) };
  if (--budget.criteria < 0) throw exceeded({ limit: limits.criteria, clause: 'where' });
  const { operator, literals } = expression;
  if (operator.endsWith('in') && literals.length > limits.values[version]) throw exceeded({ limit: limits.values[version], operator });
  const field = column(module, expression.column, 'where');
  return { type: 'compare', field, operator, values: literals.map((literal) => literalValue(field, literal, operator)) };
}

function literalValue(field: FieldSpec, literal: Literal, operator: string): Comparable {
  const value = operator.endsWith('like') ? literal.text : converted(field, literal.text);
  if (value === undefined) throw invalid('value given seems to be invalid for the column', { column_name: field.apiName, operator });
  return value;
}

function converted(field: FieldSpec, text: string): Comparable | undefined {
  switch (field.kind) {
    case 'id':
      return keyPosition(text);
    case 'datetime': {
      const ms = parseInstant(text);
      return ms === undefined ? undefined : wholeSecond(ms);
    }
    case 'date':
      return isDay(text) ? text : undefined;
    case 'boolean':
      return /^(true|false)$/i.test(text) ? text.toLowerCase() === 'true' : undefined;
    case 'integer':
    case 'bigint':
    case 'double':
    case 'currency':
    case 'percent':
      return text.trim() === '' || Number.isNaN(Number(text)) ? undefined : Number(text);
    default:
      return text;
  }
}
