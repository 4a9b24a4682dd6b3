import { once } from 'node:events';
import { createWriteStream } from 'node:fs';
import { finished } from 'node:stream/promises';
import { crc32, createDeflateRaw } from 'node:zlib';

/** Sizes follow the data, names are UTF-8: the form a server writes that does not know the size beforehand. */
const FLAGS = 0x0808;
const DEFLATE = 8;

function header(signature: number, fields: readonly (readonly [value: number, bytes: 2 | 4])[]): Buffer {
  const buffer = Buffer.alloc(4 + fields.reduce((sum, [, bytes]) => sum + bytes, 0));
  let at = buffer.writeUInt32LE(signature, 0);
  for (const [value, bytes] of fields) at = buffer.writeUIntLE(value, at, bytes);
  return buffer;
}

/**
 * Writes a ZIP file with one entry.
 * @param chunks the entry's text, in pieces of some 100 kB.
 * @throws {Error} when the file cannot be written, or `chunks` throws.
 * @see PKWARE APPNOTE 6.3, sections 4.3.7 to 4.3.16
 */
export async function writeZip(file: string, entryName: string, chunks: AsyncIterable<string>): Promise<void> {
  const name = Buffer.from(entryName);
  const out = createWriteStream(file);
  const deflate = createDeflateRaw({ level: 1 });
  const done = finished(out);
  let [crc, size, packed] = [0, 0, 0];
  out.write(Buffer.concat([header(0x04034b50, [[20, 2], [FLAGS, 2], [DEFLATE, 2], [0, 2], [0x21, 2], [0, 4], [0, 4], [0, 4], [name.length, 2], [0, 2]]), name]));
  deflate.on('data', (data: Buffer) => {
    packed += data.length;
    out.write(data);
  });
  const deflated = finished(deflate);
  try {
    for await (const chunk of chunks) {
      const bytes = Buffer.from(chunk);
      crc = crc32(bytes, crc);
      size += bytes.length;
      if (!deflate.write(bytes)) await once(deflate, 'drain');
      if (out.writableNeedDrain) await once(out, 'drain');
    }
    deflate.end();
    await deflated;
  } catch (cause) {
    deflate.destroy();
    out.destroy();
    await Promise.allSettled([deflated, done]);
    throw cause;
  }
  const sizes = [[crc, 4], [packed, 4], [size, 4]] as const;
  const offset = 30 + name.length + packed + 16;
  const directory = Buffer.concat([header(0x02014b50, [[20, 2], [20, 2], [FLAGS, 2], [DEFLATE, 2], [0, 2], [0x21, 2], ...sizes, [name.length, 2], [0, 2], [0, 2], [0, 2], [0, 2], [0, 4], [0, 4]]), name]);
  out.end(Buffer.concat([header(0x08074b50, sizes), directory, header(0x06054b50, [[0, 2], [0, 2], [1, 2], [1, 2], [directory.length, 4], [offset, 4], [0, 2]])]));
  await done;
}
