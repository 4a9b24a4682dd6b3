/** One line of a table of results: the same figure taken of several ways. */
export type Measured = { readonly name: string; readonly unit: string; readonly values: Readonly<Record<string, number>> };

/** The middle value; the mean of the two middle ones when their number is even. */
export function median(numbers: readonly number[]): number {
  const sorted = numbers.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? (sorted[middle] as number) : ((sorted[middle - 1] as number) + (sorted[middle] as number)) / 2;
}
