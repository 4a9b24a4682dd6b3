import { z } from 'zod';

import { parseReply } from './json.ts';
import type { Transport } from './transport.ts';

/** What the CRM says of a field, as far as its values depend on it. */
export type FieldMeta = {
  readonly apiName: string;
  /** The vendor's word, e.g. `multiselectpicklist`. */
  readonly dataType: string;
  /** Of a textarea; `rich_text` is what lists and queries may cut. Null for any other field. */
  readonly textarea: string | null;
  /** Every value of a picklist, as it is stored and as it is shown: which of them a record bears depends on the account's settings. */
  readonly values: readonly string[];
};

const pick = z.looseObject({ actual_value: z.string().nullish(), display_value: z.string().nullish() });
const fields = z.object({
  fields: z.array(
    z.looseObject({
      api_name: z.string(),
      data_type: z.string(),
      pick_list_values: z.array(pick).nullish(),
      textarea: z.looseObject({ type: z.string().nullish() }).nullish(),
    }),
  ),
});

/**
 * The fields of a module that are in use. Needs the scope `ZohoCRM.settings.fields.READ`; costs 1 credit.
 * @throws {CrmError} `CRM_UNAUTHORIZED` without that scope.
 * @see CRM API reference, "Fields metadata"
 */
export async function fieldsOf(transport: Transport, base: string, module: string): Promise<FieldMeta[]> {
  const path = `${base}/settings/fields`;
  const { status, text } = await transport.call({ method: 'GET', path, query: { module } });
  if (status === 204) return [];
  return parseReply(`GET ${path}`, fields, text).fields.map(({ api_name: apiName, data_type: dataType, pick_list_values: picks, textarea }) => ({
    apiName,
    dataType,
    textarea: textarea?.type ?? null,
    values: (picks ?? []).flatMap(({ actual_value: actual, display_value: shown }) => [actual, shown].filter((value) => typeof value === 'string')),
  }));
}
