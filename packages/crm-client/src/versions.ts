/** The versions of the CRM's API that are spoken. */
export const apiVersions = ['v6', 'v7', 'v8'] as const;
export type ApiVersion = (typeof apiVersions)[number];

/**
 * What differs between the versions, in one place. Three differences need no rule: queries go on by keyset, so the reach of an
 * offset does not matter; of a lookup only the id is taken; `resource_uri` is not read.
 */
export type VersionRules = {
  /** Values of one `in (…)` of COQL, so: records a look. */
  readonly idsPerLook: number;
  /** Columns of one COQL select, `id` and `Modified_Time` among them. */
  readonly coqlColumns: number;
  /** Records whose rich text one call reads in full. */
  readonly idsPerFullText: number;
  /** How the page after the first of a bulk read is named. */
  readonly nextPageBy: 'page' | 'page_token';
  /** The longest time for which a subscription channel is requested: the maximum less ten minutes. */
  readonly channelLifeMs: number;
};

const MINUTE = 60_000;
const DAY = 24 * 60 * MINUTE;

/** @see CRM API reference of each version: COQL limits, "Bulk read: create job", "Notifications: enable" */
export const versionRules: Readonly<Record<ApiVersion, VersionRules>> = {
  v6: { idsPerLook: 50, coqlColumns: 50, idsPerFullText: 1, nextPageBy: 'page', channelLifeMs: DAY - 10 * MINUTE },
  v7: { idsPerLook: 100, coqlColumns: 500, idsPerFullText: 100, nextPageBy: 'page_token', channelLifeMs: 7 * DAY - 10 * MINUTE },
  v8: { idsPerLook: 100, coqlColumns: 500, idsPerFullText: 100, nextPageBy: 'page_token', channelLifeMs: 7 * DAY - 10 * MINUTE },
};

/**
 * Checks at start that one query can read every logged field of a module. Two queries a look would be two moments, and a record
 * has one.
 * @param fields without `id` and `Modified_Time`.
 * @throws {Error} naming the module and what to do.
 */
export function checkReadable(version: ApiVersion, { apiName, fields }: { readonly apiName: string; readonly fields: readonly unknown[] }): void {
  const most = versionRules[version].coqlColumns - 2;
  if (fields.length <= most) return;
  throw new Error(`${fields.length} fields of ${apiName} are logged, and one query of API ${version} reads ${most} beside id and Modified_Time: map and log fewer, or set CRM_API_VERSION to a later version`);
}
