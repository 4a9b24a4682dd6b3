import { z } from 'zod';

import type { FoundRecord } from './records.ts';
import { parseExact } from './json.ts';
import type { Transport } from './transport.ts';
import type { VersionRules } from './versions.ts';

/** What is read of which records. */
export type FullTextsRequest = { readonly module: string; readonly ids: readonly string[]; readonly fields: readonly string[]; readonly signal?: AbortSignal };

/** The texts of a record, by field; a field that the CRM left out is not among them. */
export type FullTexts = { readonly id: string; readonly values: Readonly<Record<string, unknown>> };

/** Rich text fields of one call. */
const FIELDS_A_CALL = 8;
const texts = z.object({ data: z.array(z.looseObject({ id: z.string() })) });
const single = z.object({ data: z.array(z.looseObject({ id: z.string(), Modified_Time: z.string() })).min(1) });

/**
 * Rich text in full: lists and queries cut it to 500 characters. The reply has no `Modified_Time`; and it has rich text only, other fields are refused or left out.
 * @see CRM API reference, "Get rich text fields"
 */
export async function fullTexts(transport: Transport, base: string, idsPerCall: VersionRules['idsPerFullText'], { module, ids, fields, signal }: FullTextsRequest): Promise<FullTexts[]> {
  const found = new Map<string, Record<string, unknown>>();
  for (let at = 0; at < ids.length; at += idsPerCall) {
    const some = ids.slice(at, at + idsPerCall);
    for (let first = 0; first < fields.length; first += FIELDS_A_CALL) {
      for (const { id, ...values } of await readSome(transport, base, { module, ids: some, fields: fields.slice(first, first + FIELDS_A_CALL), isSingle: idsPerCall === 1, signal })) {
        found.set(id, { ...found.get(id), ...values });
      }
    }
  }
  return [...found].map(([id, values]) => ({ id, values }));
}

async function readSome(transport: Transport, base: string, { module, ids, fields, isSingle, signal }: Omit<FullTextsRequest, 'signal'> & { isSingle: boolean; signal: AbortSignal | undefined }): Promise<z.infer<typeof texts>['data']> {
  const record = isSingle ? `/${ids[0]}` : '';
  const { status, text } = await transport.call({
    method: 'GET',
    path: `${base}/${module}${record}/actions/fetch_full_data`,
    query: { fields: fields.join(','), ...(isSingle ? {} : { ids: ids.join(',') }) },
    purpose: 'look',
    ...(signal === undefined ? {} : { signal }),
  });
  return status === 204 ? [] : parseExact(`GET ${base}/${module}/actions/fetch_full_data`, texts, text).data;
}

/**
 * One record by its id, without a query. Null where it is not visible.
 * @param fields at most 49.
 * @see CRM API reference, "Get a specific record"
 */
export async function readRecord(transport: Transport, base: string, { module, id, fields, signal }: { module: string; id: string; fields: readonly string[]; signal?: AbortSignal }): Promise<FoundRecord | null> {
  const { status, text } = await transport.call({ method: 'GET', path: `${base}/${module}/${id}`, query: { fields: [...fields, 'Modified_Time'].join(',') }, purpose: 'look', ...(signal === undefined ? {} : { signal }) });
  if (status === 204) return null;
  const [{ id: foundId, Modified_Time: modifiedTime, ...values }] = parseExact(`GET ${base}/${module}/{id}`, single, text).data as [z.infer<typeof single>['data'][number]];
  return { id: foundId, modifiedTime, values };
}
