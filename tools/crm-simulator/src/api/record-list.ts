import { randomBytes } from 'node:crypto';

import type { ModuleSpec } from '../catalogue/catalogue.ts';
import type { FieldSpec } from '../catalogue/field-spec.ts';
import type { Clock } from '../clock.ts';
import { ApiError, invalidData } from '../errors.ts';
import { parseInstant } from '../instants.ts';
import { comparable, type Condition } from '../query/condition.ts';
import type { Order, Selection } from '../query/select.ts';
import { keyOf } from '../record-ids.ts';
import type { LiveRecord } from '../store/live-record.ts';

type Params = Readonly<Record<string, string>>;

/** What a list call asks for, checked. */
export type ListRequest = {
  readonly fields: readonly FieldSpec[];
  readonly selection: Selection;
  readonly page: number;
  readonly perPage: number;
  readonly sortBy: string;
  readonly sortOrder: 'asc' | 'desc';
  /** How many rows came before this page. */
  readonly before: number;
};

const DAY_MS = 86_400_000;
const MAX_BY_PAGE = 2000;
const MAX_BY_TOKEN = 100_000;

const refuse = (code: string, message: string, details: Record<string, unknown>) => new ApiError(400, code, message, details);

/** @throws {ApiError} `REQUIRED_PARAM_MISSING`, `LIMIT_EXCEEDED` or `INVALID_DATA` */
export function listFields(module: ModuleSpec, names: string | undefined): readonly FieldSpec[] {
  if (names === undefined || names === '') throw refuse('REQUIRED_PARAM_MISSING', 'required param is missing', { param_name: 'fields' });
  const list = names.split(',').map((name) => name.trim());
  if (list.length > 50) throw refuse('LIMIT_EXCEEDED', 'limit exceeded', { limit: 50, param_name: 'fields' });
  // Names that are no field are ignored, as the CRM does.
  const fields = list.map((name) => module.byName.get(name)).filter((field) => field !== undefined);
  const id = module.byName.get('id') as FieldSpec;
  return fields.includes(id) ? fields : [...fields, id];
}

/** Page tokens: bound to the parameters they came from, good for a day. */
export class PageTokens {
  readonly #clock: Clock;
  readonly #tokens = new Map<string, { readonly bound: string; readonly after: Condition; readonly before: number; readonly page: number; readonly expiresAtMs: number }>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** @throws {ApiError} `TOKEN_BOUND_DATA_MISMATCH` or `EXPIRED_VALUE` */
  take(token: string, bound: string) {
    const found = this.#tokens.get(token);
    const details = { param_name: 'page_token' };
    if (found?.bound !== bound) throw refuse('TOKEN_BOUND_DATA_MISMATCH', 'The page_token given seems to be invalid or input param is added or altered or deleted', details);
    if (found.expiresAtMs <= this.#clock.nowMs()) throw refuse('EXPIRED_VALUE', 'Page token expired', { api_name: 'page_token', json_path: '$.query.page_token' });
    return found;
  }

  issue(bound: string, after: Condition, before: number, page: number): { token: string; expiresAtMs: number } {
    const token = randomBytes(24).toString('hex');
    const now = this.#clock.nowMs();
    for (const [old, { expiresAtMs }] of this.#tokens) if (expiresAtMs < now - DAY_MS) this.#tokens.delete(old);
    this.#tokens.set(token, { bound, after, before, page, expiresAtMs: now + DAY_MS });
    return { token, expiresAtMs: now + DAY_MS };
  }
}

/** Everything but the place in the list: a token holds only for the same of it. */
export const boundParams = (module: ModuleSpec, params: Params): string =>
  JSON.stringify([module.apiName, ...Object.entries(params).filter(([name]) => name !== 'page' && name !== 'page_token').toSorted(([a], [b]) => (a < b ? -1 : 1))]);

/** Reads the parameters of a list call. @throws {ApiError} with the vendor's code. */
export function listRequest(module: ModuleSpec, params: Params, modifiedSince: string | undefined, tokens: PageTokens): ListRequest {
  const fields = listFields(module, params.fields);
  const perPage = whole(params.per_page, 'per_page', 200, 200);
  const { sort_by: sortBy = 'id', sort_order: sortOrder = 'desc' } = params;
  if (!['id', 'Created_Time', 'Modified_Time'].includes(sortBy)) throw invalidData({ param_name: 'sort_by', supported_values: ['id', 'Created_Time', 'Modified_Time'] });
  if (sortOrder !== 'asc' && sortOrder !== 'desc') throw invalidData({ param_name: 'sort_order', supported_values: ['asc', 'desc'] });
  if (params.page !== undefined && params.page_token !== undefined) {
    throw refuse('AMBIGUITY_DURING_PROCESSING', 'ambiguity during processing', { ambiguity_due_to: [{ param_name: 'page' }, { param_name: 'page_token' }] });
  }
  const place = params.page_token === undefined ? undefined : tokens.take(params.page_token, boundParams(module, params));
  const page = place?.page ?? whole(params.page, 'page', 1, 1_000_000);
  const offset = place === undefined ? (page - 1) * perPage : 0;
  const before = place?.before ?? offset;
  if (place === undefined && offset + perPage > MAX_BY_PAGE) {
    throw refuse('DISCRETE_PAGINATION_LIMIT_EXCEEDED', 'You can only get the first 2000 records without using page_token param', { limit: MAX_BY_PAGE });
  }
  if (before + perPage > MAX_BY_TOKEN) throw refuse('PAGINATION_LIMIT_EXCEEDED', 'You can only get upto 100000 records using page_token param', { param_name: 'page_token' });
  const parts = [...conditions(module, params, modifiedSince), ...(place === undefined ? [] : [place.after])];
  const order: Order[] = [{ field: module.byName.get(sortBy) as FieldSpec, descending: sortOrder === 'desc' }];
  return { fields, selection: { where: { type: 'and', parts }, order, offset, limit: perPage }, page, perPage, sortBy, sortOrder, before };
}

function conditions(module: ModuleSpec, params: Params, modifiedSince: string | undefined): Condition[] {
  const compare = (name: string, operator: '>' | '=' | 'in', values: readonly (number | boolean)[]): Condition[] => {
    const field = module.byName.get(name);
    return field === undefined ? [] : [{ type: 'compare', field, operator, values }];
  };
  const { ids, converted = 'false' } = params;
  if (!['true', 'false', 'both'].includes(converted)) throw invalidData({ param_name: 'converted', supported_values: ['true', 'false', 'both'] });
  const sinceMs = modifiedSince === undefined ? undefined : parseInstant(modifiedSince);
  return [
    ...(ids === undefined ? [] : compare('id', 'in', ids.split(',').map((id) => keyOf(id.trim()) ?? -1))),
    ...(converted === 'both' ? [] : compare('Converted__s', '=', [converted === 'true'])),
    ...(sinceMs === undefined ? [] : compare('Modified_Time', '>', [sinceMs])),
  ];
}

/** The condition that only what follows this record in the list meets. */
export function following(record: LiveRecord, { field, descending }: Order): Condition {
  const value = comparable(record, field);
  const beyond: Condition = { type: 'compare', field, operator: descending ? '<' : '>', values: value === null ? [] : [value] };
  if (field.kind === 'id') return beyond;
  const id = record.module.byName.get('id') as FieldSpec;
  const tied: Condition[] = [
    { type: 'compare', field, operator: '=', values: value === null ? [] : [value] },
    { type: 'compare', field: id, operator: '>', values: [record.key] },
  ];
  return { type: 'or', parts: [beyond, { type: 'and', parts: tied }] };
}

function whole(text: string | undefined, name: string, fallback: number, max: number): number {
  const value = text === undefined ? fallback : Number(text);
  if (!Number.isInteger(value) || value < 1 || value > max) throw invalidData({ param_name: name });
  return value;
}
