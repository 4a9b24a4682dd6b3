const instant = /^(\d{4}-\d\d-\d\d)[T ](\d\d):(\d\d):(\d\d)(?:\.(\d+))?(?:Z|([+-])(\d\d):?(\d\d))$/;

/** From here, and before there, a year has four digits and is of our era. */
const [YEAR_1_MS, YEAR_10000_MS] = [-62_135_596_800_000, 253_402_300_800_000];

/**
 * An ISO 8601 time with offset as an instant in UTC: `2024-07-20T00:51:23+05:30` → `2024-07-19T19:21:23Z`. Every digit of a fraction stays, but for
 * trailing zeros. At the edges of the calendar the offset leads out of the years 1 to 9999; then it is written as Postgres reads it:
 * `10000-01-01T07:59:59Z`, `0001-12-31T18:30:00Z BC`. Whatever is no such time, or exists in no calendar (30 February, year 0, 24:00, a 60th second, an offset
 * of 16 hours), is returned as it stands: the column's type decides.
 */
export function canonicalInstant(text: string): string {
  const ms = crmFormMs(text);
  if (!Number.isNaN(ms)) return wholeSecondText(ms);
  const parts = instant.exec(text);
  const whole = parts === null ? Number.NaN : wholeSecondMs(parts);
  if (Number.isNaN(whole)) return text;
  const fraction = (parts?.[5] ?? '').replace(/0+$/, '');
  return fraction === '' ? wholeSecondText(whole) : wholeSecondText(whole).replace('Z', `.${fraction}Z`);
}

/**
 * The CRM's `Modified_Time`, `created_time` or `deleted_time` as epoch milliseconds; a finer fraction is cut.
 * @throws {RangeError} when the text is no ISO 8601 time with an offset, exists in no calendar, or lies outside of the years 1 to 9999 in UTC: no
 *   version can be compared by it.
 */
export function instantMs(text: string): number {
  const ms = msOf(text);
  if (!(ms >= YEAR_1_MS && ms < YEAR_10000_MS)) throw new RangeError(`"${text.slice(0, 40)}" is no ISO 8601 time with an offset`);
  return ms;
}

function msOf(text: string): number {
  const ms = crmFormMs(text);
  if (!Number.isNaN(ms)) return ms;
  const parts = instant.exec(text);
  return parts === null ? Number.NaN : wholeSecondMs(parts) + Number((parts[5] ?? '').slice(0, 3).padEnd(3, '0'));
}

const DAY_MS = 86_400_000;
/** What Postgres takes; real offsets end at 14 hours. */
const MAX_OFFSET_HOURS = 15;
const [COLON, T, PLUS, MINUS, ZERO] = [58, 84, 43, 45, 48];

/*
 * The form the CRM writes, `2024-07-20T00:51:23+05:30`, without a Date: three such cells a row are a tenth of a bulk file's
 * reading. The days of a file are few and its seconds many, so it is days that are kept.
 */
function crmFormMs(text: string): number {
  if (text.length !== 25 || text.charCodeAt(10) !== T || text.charCodeAt(13) !== COLON || text.charCodeAt(16) !== COLON || text.charCodeAt(22) !== COLON) return Number.NaN;
  const sign = text.charCodeAt(19);
  if (sign !== PLUS && sign !== MINUS) return Number.NaN;
  const [hours, minutes, seconds, offsetHours, offsetMinutes] = [two(text, 11), two(text, 14), two(text, 17), two(text, 20), two(text, 23)];
  if (!(hours < 24 && minutes < 60 && seconds < 60 && offsetHours <= MAX_OFFSET_HOURS && offsetMinutes < 60)) return Number.NaN;
  const offset = (offsetHours * 60 + offsetMinutes) * 60_000;
  return midnightMs(text.slice(0, 10)) + ((hours * 60 + minutes) * 60 + seconds) * 1000 + (sign === PLUS ? -offset : offset);
}

/** Any other form, by way of the one above; NaN where there is no such time. */
const wholeSecondMs = ([, date, hours, minutes, seconds, , sign = '+', offsetHours = '00', offsetMinutes = '00']: readonly string[]): number =>
  crmFormMs(`${date}T${hours}:${minutes}:${seconds}${sign}${offsetHours}:${offsetMinutes}`);

/** Two digits as a number; NaN for anything else. */
function two(text: string, at: number): number {
  const [tens, ones] = [text.charCodeAt(at) - ZERO, text.charCodeAt(at + 1) - ZERO];
  return tens >= 0 && tens <= 9 && ones >= 0 && ones <= 9 ? tens * 10 + ones : Number.NaN;
}

const CACHE_SIZE = 20_000;
const midnights = new Map<string, number>();
const dates = new Map<number, string>();

const midnightMs = (date: string): number => cached(midnights, date, () => realDayMs(date));

/** `Date.parse` makes 1 March of 30 February. */
function realDayMs(date: string): number {
  const ms = /^(?!0000)\d{4}-\d\d-\d\d$/.test(date) ? Date.parse(`${date}T00:00:00Z`) : Number.NaN;
  return !Number.isNaN(ms) && new Date(ms).toISOString().startsWith(date) ? ms : Number.NaN;
}

const twoDigits = Array.from({ length: 60 }, (_, n) => String(n).padStart(2, '0'));

function wholeSecondText(ms: number): string {
  const day = Math.floor(ms / DAY_MS);
  const date = cached(dates, day, () => `${dayText(day * DAY_MS)}T`);
  const seconds = (ms - day * DAY_MS) / 1000;
  const text = `${date}${twoDigits[Math.floor(seconds / 3600)]}:${twoDigits[Math.floor(seconds / 60) % 60]}:${twoDigits[seconds % 60]}Z`;
  return ms < YEAR_1_MS ? `${text} BC` : text;
}

/** The day as Postgres writes it; an offset leads one day out of our calendar at most: into 1 BC (ISO's year 0), or into year 10000. */
function dayText(ms: number): string {
  const iso = new Date(ms).toISOString();
  if (ms < YEAR_1_MS) return iso.replace('0000', '0001').slice(0, 10);
  return iso.replace('+0', '').split('T', 1)[0] as string;
}

function cached<K, V>(cache: Map<K, V>, key: K, make: () => V): V {
  const known = cache.get(key);
  if (known !== undefined) return known;
  const value = make();
  if (cache.size >= CACHE_SIZE) cache.clear();
  cache.set(key, value);
  return value;
}
