const DAY_MS = 86_400_000;
const two = Array.from({ length: 100 }, (_, n) => String(n).padStart(2, '0'));
const days = new Map<number, string>();

/** @returns `yyyy-MM-dd` of a day counted from 1970-01-01. */
export function dayText(day: number): string {
  let text = days.get(day);
  if (text === undefined) {
    text = new Date(day * DAY_MS).toISOString().slice(0, 10);
    if (days.size > 50_000) days.clear();
    days.set(day, text);
  }
  return text;
}

/** @returns minutes east of UTC of `+05:30`, `-07:00` or `Z`; undefined when it is none of these. */
function offsetMinutes(offset: string): number | undefined {
  if (offset === 'Z') return 0;
  const match = /^([+-])(\d\d):(\d\d)$/.exec(offset);
  if (match === null) return undefined;
  return (match[1] === '-' ? -1 : 1) * (Number(match[2]) * 60 + Number(match[3]));
}

/** Writes instants (epoch ms) as the CRM does: whole seconds and the offset, `2024-07-20T00:51:23+05:30`. */
export function instantFormat(offset: string): (ms: number) => string {
  const shift = offsetMinutes(offset);
  if (shift === undefined) throw new RangeError(`"${offset}" is no offset such as +05:30`);
  return (ms) => {
    const local = ms + shift * 60_000;
    const day = Math.floor(local / DAY_MS);
    const second = Math.floor((local - day * DAY_MS) / 1000);
    const minute = Math.floor(second / 60);
    return `${dayText(day)}T${two[Math.floor(minute / 60)]}:${two[minute % 60]}:${two[second % 60]}${offset}`;
  };
}

/** Instants in UTC, `2024-07-19T19:21:23Z`. */
export const utcText = instantFormat('Z');

const iso = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?<fraction>\.\d+)?(?:Z|[+-]\d\d:?\d\d)$/;

/** @returns epoch ms of an ISO 8601 time with offset, undefined for anything else. */
export function parseInstant(text: unknown): number | undefined {
  if (typeof text !== 'string' || !iso.test(text)) return undefined;
  const ms = Date.parse(text);
  return Number.isNaN(ms) ? undefined : ms;
}

/** True when the text has a fraction of a second. */
export const hasFraction = (text: string): boolean => iso.exec(text)?.groups?.fraction !== undefined;

/** Cuts to the CRM's resolution: whole seconds. */
export const wholeSecond = (ms: number): number => Math.floor(ms / 1000) * 1000;

/** True for an existing calendar day, `yyyy-MM-dd`. */
export const isDay = (text: unknown): text is string =>
  typeof text === 'string' && /^\d{4}-\d\d-\d\d$/.test(text) && new Date(`${text}T00:00:00Z`).toJSON()?.slice(0, 10) === text;
