import { sqlState } from '@lockstep/postgres';

import { type Fault, faultOrThrow } from './fault-of-data.ts';

const LOCK_TIMEOUT = '55P03';
const CANCELLED = '57014';

/** `while updating tuple (0,1) in relation "leads"`, in any language of the server. */
const tupleInTheWay = /^.*\(\d+,\d+\).*$/m;

/**
 * Why a statement was given up that took too long: by `statement_timeout`, or since another session has locked a row. Then fewer rows may pass, and
 * one that does not waits by itself. Null where a whole table is locked, or a position: nothing of the batch could pass.
 */
export function heldUp(error: unknown): Fault | null {
  const code = sqlState(error);
  if (code !== LOCK_TIMEOUT && code !== CANCELLED) return null;
  const { message, where } = error as Error & { readonly where?: unknown };
  if (code === CANCELLED) return { code, cause: message };
  // A line that begins with COPY shows the content of a row.
  const inTheWay = typeof where === 'string' ? tupleInTheWay.exec(where.replaceAll(/^COPY .*$/gm, ''))?.[0] : undefined;
  return inTheWay === undefined || inTheWay.includes('projection_offset') ? null : { code, cause: `${message} ${inTheWay}` };
}

/**
 * Why something that is tried again cannot be applied now; see {@link faultOrThrow}.
 * @throws what says nothing about that row.
 */
export const faultOfTry = (error: unknown): Fault => heldUp(error) ?? faultOrThrow(error);
