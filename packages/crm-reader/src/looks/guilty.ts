import { CrmError, type CrmErrorCode } from '@lockstep/crm-client';
import type { LookAside } from '@lockstep/postgres';

/** A record that makes its look fail. */
export type Guilty<T> = { readonly id: string; readonly item: T; readonly error: CrmError };

/** Failures that may be one record's: the query was refused for what is in it, or its reply cannot be read. */
const OF_THE_QUERY: ReadonlySet<CrmErrorCode> = new Set(['CRM_REFUSED', 'CRM_NOT_FOUND', 'CRM_REPLY_UNEXPECTED']);
/** They may be as well: an error of the CRM's server at a single record. */
const OF_THE_SERVER: ReadonlySet<CrmErrorCode> = new Set(['CRM_UNAVAILABLE', 'CRM_UNREACHABLE']);

/** Whether dividing a failed look may find a record that causes it. */
export const mayBeOfARecord = (error: unknown): error is CrmError => error instanceof CrmError && (OF_THE_QUERY.has(error.code) || mayPass(error));

/** Whether the failure may be chance: then its record has another look, alone, before it is kept aside. */
export const mayPass = ({ code }: CrmError): boolean => OF_THE_SERVER.has(code);

export type DivideOptions<T> = {
  readonly items: ReadonlyMap<string, T>;
  /** Why the look at all of them failed. */
  readonly error: CrmError;
  /** Looks at some of them and answers them. @throws {CrmError} */
  readonly look: (some: ReadonlyMap<string, T>) => Promise<void>;
};

/** What dividing came to: those that fail alone; all others are answered. */
export type Divided<T> = { readonly guilty: readonly Guilty<T>[]; readonly isAnyAnswered: boolean };

/**
 * Halves a look that fails until the records that make it fail are alone; one of them among a hundred costs up to fourteen looks.
 * @throws what is not of a record, e.g. that the CRM takes no calls for a while; what was answered before stays so.
 */
export async function divide<T>({ items, error, look }: DivideOptions<T>): Promise<Divided<T>> {
  const all = [...items];
  const [first] = all;
  if (first === undefined) return { guilty: [], isAnyAnswered: false };
  if (all.length === 1) return { guilty: [{ id: first[0], item: first[1], error }], isAnyAnswered: false };
  const middle = Math.ceil(all.length / 2);
  const guilty: Guilty<T>[] = [];
  let isAnyAnswered = false;
  for (const half of [new Map(all.slice(0, middle)), new Map(all.slice(middle))]) {
    try {
      await look(half);
      isAnyAnswered = true;
    } catch (halfError) {
      if (!mayBeOfARecord(halfError)) throw halfError;
      const divided = await divide({ items: half, error: halfError, look });
      guilty.push(...divided.guilty);
      isAnyAnswered ||= divided.isAnyAnswered;
    }
  }
  return { guilty, isAnyAnswered };
}

/** Why a record is aside, as it is noted. */
export const asideOf = ({ id, error }: Pick<Guilty<unknown>, 'id' | 'error'>): LookAside => ({ id, code: error.code, cause: error.message.slice(0, 500) });
