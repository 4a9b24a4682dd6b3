import { finished } from 'node:stream/promises';

import type { PoolClient } from 'pg';
import { from } from 'pg-copy-streams';

/**
 * Sends rows by COPY in text format.
 * @param target what stands between `copy` and `from stdin`, e.g. `stage (id, name)`.
 * @param text complete lines: columns parted by tabs, `\N` for null, each ended by a newline.
 */
export async function copyInto(client: PoolClient, target: string, text: Buffer): Promise<void> {
  const stream = client.query(from(`copy ${target} from stdin`));
  stream.end(text);
  await finished(stream);
}
