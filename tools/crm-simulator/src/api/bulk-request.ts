import { findModule, type ModuleSpec } from '../catalogue/catalogue.ts';
import { type FieldSpec, isFlat } from '../catalogue/field-spec.ts';
import { ApiError } from '../errors.ts';
import type { Condition } from '../query/condition.ts';
import { criteriaOf } from './bulk-criteria.ts';
import { isObject, type Json } from './json-body.ts';
import type { Version } from './world.ts';

/** What a bulk job is to read, checked. */
export type BulkQuery = {
  readonly module: ModuleSpec;
  readonly fields: readonly FieldSpec[];
  readonly where: Condition;
  /** The request's own words, with ids added: status replies show it. */
  readonly echo: Json;
};

/** Where in the module a page begins. */
export type PageStart = { readonly page: number; readonly skip: number; readonly afterKey: number };

const MAX_PAGES = 500;
/** Above so many names the CRM exports every field, and says nothing. */
const MAX_FIELDS = 200;

const refuse = (code: string, details: Json = {}) => new ApiError(400, code, code.toLowerCase().replaceAll('_', ' '), details);

/** @throws {ApiError} for a callback that is no POST to a URL. */
export function callbackUrl(body: Json): string | null {
  const { callback } = body;
  if (callback === undefined || callback === null) return null;
  if (!isObject(callback) || typeof callback.url !== 'string' || !URL.canParse(callback.url)) throw refuse('INVALID_CALLBACK_URL');
  if (String(callback.method).toLowerCase() !== 'post') throw refuse('INVALID_CALLBACK_METHOD', { supported_callback_methods: ['post'] });
  return callback.url;
}

/** @throws {ApiError} for anything but `csv`, which is also the default. */
export function checkFileType(body: Json): void {
  if (body.file_type !== undefined && body.file_type !== 'csv') throw refuse('INVALID_DATA', { api_name: 'file_type', supported_values: ['csv'] });
}

/** Reads the first page's query. @throws {ApiError} with the vendor's code. */
export function bulkQuery(query: Json): BulkQuery {
  const name = isObject(query.module) ? query.module.api_name : query.module;
  if (typeof name !== 'string') throw refuse('MODULE_NOT_AVAILABLE');
  const module = findModule(name);
  if (module === undefined) throw refuse('MODULE_NOT_AVAILABLE', { module: name });
  if (query.cvid !== undefined) throw refuse('CVID_NOT_SUPPORTED');
  const fields = bulkFields(module, query.fields);
  const id = module.byName.get('id') as FieldSpec;
  const where: Condition = query.criteria === undefined ? { type: 'and', parts: [] } : criteriaOf(module, query.criteria);
  return { module, fields: [id, ...fields.filter((field) => field !== id)], where, echo: { ...query, module: { id: module.id, api_name: module.apiName } } };
}

function bulkFields(module: ModuleSpec, names: unknown): readonly FieldSpec[] {
  if (names === undefined || (Array.isArray(names) && names.length > MAX_FIELDS)) return module.flatFields;
  if (!Array.isArray(names)) throw refuse('INVALID_DATA', { api_name: 'fields', expected_data_type: 'jsonarray' });
  return names.map((name: unknown) => {
    const field = module.byName.get(String(name));
    if (field === undefined) throw refuse('FIELD_NOT_AVAILABLE', { field: name });
    if (!isFlat(field)) throw refuse('FIELD_NOT_SUPPORTED', { field: name });
    return field;
  });
}

/** On v6 the page is raised; from v7 on only the first page has a number, and the others a token. @throws {ApiError} */
export function pageStart(query: Json, version: Version, pageSize: number): PageStart {
  const page = query.page ?? 1;
  if (typeof page !== 'number' || !Number.isInteger(page) || page < 1 || page > MAX_PAGES) throw refuse('PAGE_RANGE_EXCEEDED', { max_limit: MAX_PAGES });
  if (version > 6 && page > 1) throw refuse('PAGE_NOT_SUPPORTED', { api_name: 'page', json_path: '$.query.page', use: 'page_token' });
  return { page, skip: (page - 1) * pageSize, afterKey: -1 };
}
