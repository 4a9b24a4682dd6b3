import { expect, test } from 'vitest';

import { jsonLines } from './json-lines.ts';

async function* inPieces(bytes: Buffer, size: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

async function read(text: string, size: number): Promise<unknown[]> {
  const found: unknown[] = [];
  for await (const value of jsonLines(inPieces(Buffer.from(text), size))) found.push(value);
  return found;
}

const separators = ['\u2028', '\u2029', '\u0085', '\v', '\f', '\r', '\r\n', '\n', '\u001C', '\u001D', '\u001E'];

test('no character of a value ends a line, however the bytes are cut', async () => {
  const records = separators.flatMap((separator, id) => [separator, `a${separator}`, `é${separator}東${separator}👍🏽`].map((text) => ({ id, text })));
  const text = records.map((record) => `${JSON.stringify(record)}\n`).join('');
  for (let size = 1; size <= 64; size += 1) expect(await read(text, size)).toEqual(records);
  expect(await read(text, text.length * 4)).toEqual(records);
  expect(await read('', 1)).toEqual([]);
});

test('a text that was cut off is refused', async () => {
  await expect(read('{"id":1}\n{"id":2}', 5)).rejects.toThrow('ends within a line');
  await expect(read('{"id":1}\n{"id":\n', 5)).rejects.toThrow(SyntaxError);
});
