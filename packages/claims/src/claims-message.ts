import type { StandingClaims } from '@lockstep/postgres';
import { z } from 'zod';

const claim = z.object({ at: z.iso.datetime({ precision: 3 }).transform((text) => new Date(text)), topicId: z.string().min(1), endOffsets: z.array(z.int().min(0)).min(1) });

const message = z.object({
  v: z.literal(1),
  module: z.string().min(1),
  changes: claim.nullable(),
  everything: claim.extend({ expectedRows: z.int().min(0).nullable() }).nullable(),
});

/** What a message of a newer build has in common with this one's. */
const newer = z.object({ v: z.int().min(2), module: z.string().min(1) });

/** What a message says. `unread` is its version where a newer build wrote it: then what it claims or withdraws is not known. */
export type ClaimsMessage = StandingClaims & { readonly module: string; readonly unread: number | null };

/** What stands claimed of a module, as a message of `crm.claims`. */
export const encodeClaims = (module: string, { changes, everything }: StandingClaims): string => JSON.stringify({ v: 1, module, changes, everything });

/** @returns null for what is no such message: what it claims is not believed. */
export function decodeClaims(value: Buffer | null): ClaimsMessage | null {
  try {
    const json: unknown = JSON.parse(value?.toString() ?? '');
    const { data } = message.safeParse(json);
    if (data !== undefined) return { module: data.module, changes: data.changes, everything: data.everything, unread: null };
    const { data: later } = newer.safeParse(json);
    return later === undefined ? null : { module: later.module, changes: null, everything: null, unread: later.v };
  } catch (error) {
    if (error instanceof SyntaxError) return null;
    throw error;
  }
}
