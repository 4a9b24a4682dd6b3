const instant = /^\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:?\d\d)$/;

// Years of more than four digits have a sign.
const YEAR_10000_MS = 253_402_300_800_000;

/**
 * An ISO 8601 time with offset as an instant in UTC: `2024-07-20T00:51:23+05:30` → `2024-07-19T19:21:23Z`; a fraction stays,
 * without trailing zeros. Anything else is returned as it stands.
 */
export function canonicalInstant(text: string): string {
  const ms = msOf(text);
  if (Number.isNaN(ms)) return text;
  if (ms % 1000 === 0 && ms >= 0 && ms < YEAR_10000_MS) return wholeSecondText(ms);
  const iso = new Date(ms).toISOString();
  return ms % 1000 === 0 ? `${iso.slice(0, -5)}Z` : iso.replace(/0+Z$/, 'Z');
}

/**
 * The CRM's `Modified_Time`, `created_time` or `deleted_time` as epoch milliseconds.
 * @throws {RangeError} when the text is no ISO 8601 time with an offset: without it no version can be compared.
 */
export function instantMs(text: string): number {
  const ms = msOf(text);
  if (Number.isNaN(ms)) throw new RangeError(`"${text.slice(0, 40)}" is no ISO 8601 time with an offset`);
  return ms;
}

function msOf(text: string): number {
  const ms = crmFormMs(text);
  if (!Number.isNaN(ms)) return ms;
  return instant.test(text) ? Date.parse(text) : Number.NaN;
}

const DAY_MS = 86_400_000;
const [COLON, T, PLUS, MINUS, ZERO] = [58, 84, 43, 45, 48];

/*
 * The form the CRM writes, `2024-07-20T00:51:23+05:30`, without a Date: three such cells a row are a tenth of a bulk file's
 * reading. The days of a file are few and its seconds many, so it is days that are kept.
 */
function crmFormMs(text: string): number {
  if (text.length !== 25 || text.charCodeAt(10) !== T || text.charCodeAt(13) !== COLON || text.charCodeAt(16) !== COLON || text.charCodeAt(22) !== COLON) return Number.NaN;
  const sign = text.charCodeAt(19);
  const [hours, minutes, seconds, offsetHours, offsetMinutes] = [two(text, 11), two(text, 14), two(text, 17), two(text, 20), two(text, 23)];
  if ((sign !== PLUS && sign !== MINUS) || !(hours < 24 && minutes < 60 && seconds < 60 && offsetHours < 24 && offsetMinutes < 60)) return Number.NaN;
  const offset = (offsetHours * 60 + offsetMinutes) * 60_000;
  return midnightMs(text.slice(0, 10)) + ((hours * 60 + minutes) * 60 + seconds) * 1000 + (sign === PLUS ? -offset : offset);
}

/** Two digits as a number; NaN for anything else. */
function two(text: string, at: number): number {
  const [tens, ones] = [text.charCodeAt(at) - ZERO, text.charCodeAt(at + 1) - ZERO];
  return tens >= 0 && tens <= 9 && ones >= 0 && ones <= 9 ? tens * 10 + ones : Number.NaN;
}

const CACHE_SIZE = 20_000;
const midnights = new Map<string, number>();
const dates = new Map<number, string>();

function midnightMs(date: string): number {
  return cached(midnights, date, () => (/^\d{4}-\d\d-\d\d$/.test(date) ? Date.parse(`${date}T00:00:00Z`) : Number.NaN));
}

const twoDigits = Array.from({ length: 60 }, (_, n) => String(n).padStart(2, '0'));

function wholeSecondText(ms: number): string {
  const day = Math.floor(ms / DAY_MS);
  const date = cached(dates, day, () => new Date(day * DAY_MS).toISOString().slice(0, 11));
  const seconds = (ms - day * DAY_MS) / 1000;
  return `${date}${twoDigits[Math.floor(seconds / 3600)]}:${twoDigits[Math.floor(seconds / 60) % 60]}:${twoDigits[seconds % 60]}Z`;
}

function cached<K, V>(cache: Map<K, V>, key: K, make: () => V): V {
  const known = cache.get(key);
  if (known !== undefined) return known;
  const value = make();
  if (cache.size >= CACHE_SIZE) cache.clear();
  cache.set(key, value);
  return value;
}
