/**
 * Reads newline-delimited JSON. Only a line feed ends a line: `node:readline` also splits at U+2028 and U+2029, which JSON holds unescaped.
 * @throws {SyntaxError} for a line that is no JSON, and for a last line without its line feed: the text was cut off.
 */
export async function* jsonLines<T>(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<T, undefined> {
  let rest = Buffer.alloc(0);
  for await (const chunk of chunks) {
    const bytes = rest.length === 0 ? Buffer.from(chunk) : Buffer.concat([rest, chunk]);
    const end = bytes.lastIndexOf(LINE_FEED) + 1;
    rest = bytes.subarray(end);
    if (end > 0) yield* bytes.toString('utf8', 0, end - 1).split('\n').map((line) => JSON.parse(line) as T);
  }
  if (rest.length > 0) throw new SyntaxError(`the text ends within a line: ${rest.toString('utf8', 0, 100)}`);
  return undefined;
}

const LINE_FEED = 0x0a;
