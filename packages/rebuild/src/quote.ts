/** An identifier that holds no quote. */
export const quote = (identifier: string): string => `"${identifier}"`;
