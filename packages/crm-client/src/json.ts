import { isUtf8 } from 'node:buffer';

import type { z } from 'zod';

import { duplicateKey } from './duplicate-keys.ts';
import { CrmError } from './errors.ts';
import { withExactNumbers } from './exact-numbers.ts';

/**
 * The text of a reply.
 * @throws {CrmError} `CRM_UNAVAILABLE` where it is not UTF-8: a decoder would put another character in the place of what came.
 */
export function replyText(call: string, bytes: Uint8Array): string {
  if (!isUtf8(bytes)) throw new CrmError(`${call}: the answer is not UTF-8`, 'CRM_UNAVAILABLE');
  return new TextDecoder().decode(bytes);
}

/** @throws {CrmError} `CRM_UNAVAILABLE` for HTML and the like, `CRM_REPLY_UNEXPECTED` for JSON of another form. */
export const parseReply = <S extends z.ZodType>(call: string, schema: S, text: string): z.infer<S> => parsed(call, schema, read(call, text, (json) => JSON.parse(json) as unknown));

/**
 * Parses so that no digit of a number is lost: one whose text is not what a double gives back (`10.50`, 1e400, 17 digits) comes as its source text, whatever stands
 * beside it in the reply.
 */
export const parseExact = <S extends z.ZodType>(call: string, schema: S, text: string): z.infer<S> =>
  parsed(call, schema, read(call, text, (json) => JSON.parse(inexactNumber.test(json) ? withExactNumbers(json) : json) as unknown));

/** @throws {CrmError} `CRM_REPLY_UNEXPECTED` */
export function parsed<S extends z.ZodType>(call: string, schema: S, json: unknown): z.infer<S> {
  const result = schema.safeParse(json);
  if (result.success) return result.data;
  throw new CrmError(`${call}: unexpected answer: ${result.error.issues.slice(0, 3).map((i) => `${i.path.join('.')}: ${i.message}`).join('; ')}`, 'CRM_REPLY_UNEXPECTED');
}

/** A number of 16 characters or more, with an exponent, with a zero at its end, or negative zero; or what looks like one within quotes: then the slow way is taken once too often. */
const inexactNumber = /[:,[]\s*(?:-0|-?[\d.]{16}|-?\d+(?:\.\d+)?[eE]|-?\d+\.\d*0(?!\d)|-?0\.0{6})/;

function read(call: string, text: string, parse: (text: string) => unknown): unknown {
  const json = attempt(call, text, parse);
  const key = duplicateKey(text);
  if (key !== null) throw new CrmError(`${call}: unexpected answer: an object has the key ${key.slice(0, 40)} twice`, 'CRM_REPLY_UNEXPECTED');
  return json;
}

function attempt(call: string, text: string, parse: (text: string) => unknown): unknown {
  try {
    return parse(text);
  } catch (cause) {
    throw new CrmError(`${call}: the answer is no JSON`, 'CRM_UNAVAILABLE', { cause });
  }
}
