import type { StandingClaims } from '@lockstep/postgres';
import { z } from 'zod';

const claim = z.object({ at: z.iso.datetime({ precision: 3 }).transform((text) => new Date(text)), topicId: z.string().min(1), endOffsets: z.array(z.int().min(0)).min(1) });

const message = z.object({
  v: z.literal(1),
  module: z.string().min(1),
  changes: claim.nullable(),
  everything: claim.extend({ expectedRows: z.int().min(0).nullable() }).nullable(),
});

/** What stands claimed of a module, as a message of `crm.claims`. */
export const encodeClaims = (module: string, { changes, everything }: StandingClaims): string => JSON.stringify({ v: 1, module, changes, everything });

/** @returns null for what is no such message of this version: what it claims is not believed. */
export function decodeClaims(value: Buffer | null): (StandingClaims & { readonly module: string }) | null {
  try {
    const { data } = message.safeParse(JSON.parse(value?.toString() ?? ''));
    return data === undefined ? null : { module: data.module, changes: data.changes, everything: data.everything };
  } catch (error) {
    if (error instanceof SyntaxError) return null;
    throw error;
  }
}
