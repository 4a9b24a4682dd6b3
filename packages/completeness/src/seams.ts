/*
 * A bulk read's pages are ordered by id. Where the CRM counts pages by number, records deleted between two pages move those after
 * them forward, over the edge and out of both: page 2 begins behind where page 1 ended. They all lie between the greatest id of one
 * page and the least of the next, and nowhere else; whatever moves the other way is read twice. Tokens promise to go on where
 * the page before ended; how is not documented, so they are checked in the same way.
 */

/** The least and the greatest id of a page's rows. */
export type IdSpan = { readonly first: string; readonly last: string };

/** Ids of which nothing was read: above one, and below the other; null where there is no end. */
export type Seam = { readonly afterId: string; readonly beforeId: string | null };

/** A page that was read; `ids` is null when it had no rows. */
export type ReadPage = { readonly pageNumber: number; readonly ids: IdSpan | null };

/** Whether an id is less than another, as numbers of up to 19 digits without leading zeros. */
export const isLowerId = (a: string, b: string): boolean => a.length < b.length || (a.length === b.length && a < b);

/**
 * The seams that a page closes with the pages beside it, as far as those have been read: a page that was requested again may be
 * read after the one that follows it.
 */
export function seamsOf({ pageNumber, ids }: ReadPage, others: readonly ReadPage[]): Seam[] {
  const beside = (number: number): ReadPage | undefined => others.find((one) => one.pageNumber === number);
  return [seamBetween(beside(pageNumber - 1)?.ids, ids), seamBetween(ids, beside(pageNumber + 1)?.ids)].filter((seam) => seam !== null);
}

/** An empty page ends the module, as far as it goes: then all that follows the page before it is read. */
function seamBetween(before: IdSpan | null | undefined, after: IdSpan | null | undefined): Seam | null {
  if (before === undefined || before === null || after === undefined) return null;
  if (after === null) return { afterId: before.last, beforeId: null };
  return isLowerId(before.last, after.first) ? { afterId: before.last, beforeId: after.first } : null;
}
