import type { z } from 'zod';

import { CrmError } from './errors.ts';

/** @throws {CrmError} `CRM_UNAVAILABLE` for HTML and the like, `CRM_REPLY_UNEXPECTED` for JSON of another form. */
export function parseReply<S extends z.ZodType>(call: string, schema: S, text: string): z.infer<S> {
  const parsed = schema.safeParse(jsonOf(call, text));
  if (parsed.success) return parsed.data;
  throw new CrmError(`${call}: unexpected answer: ${parsed.error.issues.slice(0, 3).map((i) => `${i.path.join('.')}: ${i.message}`).join('; ')}`, 'CRM_REPLY_UNEXPECTED');
}

/**
 * Parses so that no digit of a number is lost: where some number has more digits than a double holds, all of them come as their
 * source text. Else they come as numbers, which is several times faster.
 */
export function parseExact<S extends z.ZodType>(call: string, schema: S, text: string): z.infer<S> {
  const json: unknown = read(call, () => (longNumber.test(text) ? JSON.parse(text, exactNumbers as (key: string, value: unknown) => unknown) : JSON.parse(text)));
  const parsed = schema.safeParse(json);
  if (parsed.success) return parsed.data;
  throw new CrmError(`${call}: unexpected answer: ${parsed.error.issues.slice(0, 3).map((i) => `${i.path.join('.')}: ${i.message}`).join('; ')}`, 'CRM_REPLY_UNEXPECTED');
}

// Outside of quotes, or looking like it: then the slow way is taken once too often.
const longNumber = /[:,[]\s*-?[\d.]{16}/;

// The third argument of a reviver is newer than TypeScript's library says.
const exactNumbers = (_key: string, value: unknown, context: { source: string }): unknown => (typeof value === 'number' ? context.source : value);

const jsonOf = (call: string, text: string): unknown => read(call, () => JSON.parse(text) as unknown);

function read(call: string, parse: () => unknown): unknown {
  try {
    return parse();
  } catch (cause) {
    throw new CrmError(`${call}: the answer is no JSON`, 'CRM_UNAVAILABLE', { cause });
  }
}
