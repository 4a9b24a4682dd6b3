import { InvalidArgumentError } from 'commander';

/** A time as epoch milliseconds. */
export function instant(text: string): number {
  const ms = Date.parse(text);
  if (Number.isNaN(ms)) throw new InvalidArgumentError('not a time such as 2026-03-02T10:05:00Z');
  return ms;
}

/** A whole number, 0 or more. */
export function whole(text: string): number {
  if (!/^\d{1,9}$/.test(text)) throw new InvalidArgumentError('not a whole number');
  return Number(text);
}

/** A number of seconds, 0 or more. */
export function seconds(text: string): number {
  const value = Number(text);
  if (text === '' || !Number.isFinite(value) || value < 0) throw new InvalidArgumentError('not a number of seconds');
  return value;
}

/** The id of a CRM record. */
export function recordId(text: string): string {
  if (!/^[1-9]\d{0,18}$/.test(text)) throw new InvalidArgumentError('not a record id: it has up to 19 digits. "select id from leads limit 1" gives one');
  return text;
}

/** Numbers of rows, one after the other. */
export function numbers(text: string, before: readonly string[] = []): string[] {
  if (!/^[1-9]\d{0,17}$/.test(text)) throw new InvalidArgumentError('not a number');
  return [...before, text];
}

/** Record ids, one after the other. */
export const recordIds = (text: string, before: readonly string[] = []): string[] => [...before, recordId(text)];
