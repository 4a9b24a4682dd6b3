const instant = /^\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:?\d\d)$/;

// A bulk file holds the same few thousand seconds over and over (mass edits, created times of imports).
const cache = new Map<string, string>();
const CACHE_SIZE = 20_000;

/**
 * An ISO 8601 time with offset as an instant in UTC: `2024-07-20T00:51:23+05:30` → `2024-07-19T19:21:23Z`; a fraction stays,
 * without trailing zeros. Anything else is returned as it stands.
 */
export function canonicalInstant(text: string): string {
  const known = cache.get(text);
  if (known !== undefined) return known;
  const ms = instant.test(text) ? Date.parse(text) : Number.NaN;
  if (Number.isNaN(ms)) return text;
  const iso = new Date(ms).toISOString();
  const value = ms % 1000 === 0 ? `${iso.slice(0, 19)}Z` : iso.replace(/0+Z$/, 'Z');
  if (cache.size >= CACHE_SIZE) cache.clear();
  cache.set(text, value);
  return value;
}

/**
 * The CRM's `Modified_Time`, `created_time` or `deleted_time` as epoch milliseconds.
 * @throws {RangeError} when the text is no ISO 8601 time with an offset: without it no version can be compared.
 */
export function instantMs(text: string): number {
  const ms = instant.test(text) ? Date.parse(text) : Number.NaN;
  if (Number.isNaN(ms)) throw new RangeError(`"${text.slice(0, 40)}" is no ISO 8601 time with an offset`);
  return ms;
}
