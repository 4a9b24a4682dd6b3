import type { PoolClient } from 'pg';

// Between batches each connection keeps its own.
const memories = new WeakMap<PoolClient, Buffer>();

/**
 * Memory for the lines of a connection's next COPY, which the one after it writes over. To allocate megabytes for each batch makes V8
 * collect the whole heap every few of them.
 * @param bytes how many are needed; there may be more.
 */
export function copyMemory(client: PoolClient, bytes: number): Buffer {
  const known = memories.get(client);
  if (known !== undefined && known.length >= bytes) return known;
  // A quarter more, so that a batch that is a little larger than the last needs no other.
  const memory = Buffer.allocUnsafeSlow(bytes + (bytes >> 2));
  memories.set(client, memory);
  return memory;
}
