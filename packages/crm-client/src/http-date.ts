/** `Mon, 04 May 2026 10:00:00 GMT`; some write its zone otherwise, or not at all. */
const httpDate = /^[A-Z][a-z]{2}, (\d{2} [A-Z][a-z]{2} \d{4} \d{2}:\d{2}:\d{2})(?: GMT| UTC| \+0000)?$/;

/**
 * The time of a `Date` header, epoch milliseconds; NaN for anything else. `Date.parse` would take a time without a zone for one of this host's zone, which may be hours off, and a
 * day that does not exist for another.
 * @see RFC 9110, 5.6.7: it is always UTC
 */
export function httpDateMs(header: string): number {
  const text = httpDate.exec(header)?.[1] ?? '';
  const ms = Date.parse(`${text} GMT`);
  return !Number.isNaN(ms) && new Date(ms).toUTCString().includes(text) ? ms : Number.NaN;
}
