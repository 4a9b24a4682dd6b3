import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { crc32, deflateRawSync } from 'node:zlib';

import { afterAll, beforeAll, expect, test } from 'vitest';

import { openBulkZip } from './zip-entry.ts';

const CSV = 'id,Modified_Time\n1,2026-01-01T00:00:00Z\n';
let folder: string;
beforeAll(async () => void (folder = await mkdtemp(join(tmpdir(), 'lockstep-zip-'))));
afterAll(() => rm(folder, { recursive: true, force: true }));

type Packed = { readonly data?: string; readonly after?: string; readonly packedSize?: number; readonly size?: number; readonly crc?: number };

const numbers = (layout: readonly (readonly [bytes: 2 | 4, value: number])[]): Buffer =>
  Buffer.concat(layout.map(([bytes, value]) => {
    const buffer = Buffer.alloc(bytes);
    buffer.writeUIntLE(value, 0, bytes);
    return buffer;
  }));

/** A ZIP of files named `a`. What is given replaces what headers and directory would say of a file, and of how many there are. */
function zip(files: readonly Packed[], counted = files.length): Buffer {
  const body: Buffer[] = [];
  const directory: Buffer[] = [];
  for (const { data = CSV, after = '', packedSize, size, crc } of files) {
    const packed = Buffer.concat([deflateRawSync(data), Buffer.from(after)]);
    const offset = Buffer.concat(body).length;
    const common = [[2, 0], [2, 8], [4, 0], [4, crc ?? crc32(data)], [4, packedSize ?? packed.length], [4, size ?? data.length], [2, 1], [2, 0]] as const;
    body.push(numbers([[4, 0x04034b50], [2, 20], ...common]), Buffer.from('a'), packed);
    directory.push(numbers([[4, 0x02014b50], [2, 20], [2, 20], ...common, [2, 0], [2, 0], [2, 0], [4, 0], [4, offset]]), Buffer.from('a'));
  }
  const [contents, list] = [Buffer.concat(body), Buffer.concat(directory)];
  return Buffer.concat([contents, list, numbers([[4, 0x06054b50], [2, 0], [2, 0], [2, counted], [2, counted], [4, list.length], [4, contents.length], [2, 0]])]);
}

async function opened(bytes: Buffer): Promise<unknown> {
  const file = join(folder, 'a.zip');
  await writeFile(file, bytes);
  return await openBulkZip(file);
}

test('a result of one file is taken', () => expect(opened(zip([{}]))).resolves.toMatchObject({ rows: 2, isUtf8: true }));

test.each([
  ['has no file', zip([])],
  ['has two files', zip([{}, {}])],
  ['has two files and counts one', zip([{}, {}], 1)],
  ['counts more files than it has', zip([{}], 2)],
  ['names a smaller packed size', zip([{ packedSize: 10 }])],
  ['names a greater packed size', zip([{ packedSize: 60 }])],
  ['has bytes after the packed data', zip([{ after: 'more' }])],
  ['names a smaller size', zip([{ size: 10 }])],
  ['names a greater size', zip([{ size: 1_000 }])],
  ['names another CRC', zip([{ crc: 1 }])],
])('a result that %s is damaged', (_, bytes) => expect(opened(bytes)).rejects.toMatchObject({ code: 'BULK_FILE_DAMAGED' }));
