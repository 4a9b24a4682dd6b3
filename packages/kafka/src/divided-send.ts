import type { ProducedMessage } from './message.ts';
import type { Producer } from './producer.ts';

/** A message that the log does not take: alone, it is larger than the broker's or the topic's limit. */
export type TooLarge = { readonly key: string; readonly bytes: number };

export type SendBoundedOptions = {
  /** Bytes of keys, values and headers a request, before they are compressed. */
  readonly maxBatchBytes?: number;
  /** Of each request. */
  readonly timeoutMs?: number;
};

/** Below what a broker takes by default, 1 MB and a little. */
const MAX_BATCH_BYTES = 900_000;
/** A broker cuts the connection of a request of 100 MB, instead of refusing it. */
export const MAX_MESSAGE_BYTES = 32_000_000;

/**
 * Sends messages in their order, in requests of bounded size one after another. What the log refuses as too large, although it is compressed, is divided until the
 * message that is too large is alone; all others are sent.
 * @returns those that are too large.
 * @throws {KafkaError} as `Producer.send` does; a part may have been sent.
 */
export async function sendBounded(producer: Pick<Producer, 'send'>, topic: string, messages: readonly ProducedMessage[], { maxBatchBytes = MAX_BATCH_BYTES, ...options }: SendBoundedOptions = {}): Promise<TooLarge[]> {
  const tooLarge: TooLarge[] = [];
  for (const batch of batchesOf(messages, maxBatchBytes)) tooLarge.push(...(await sendDivided(producer, topic, batch, options)));
  return tooLarge;
}

/** The same, of messages that are one request if the log takes them. */
export async function sendDivided(producer: Pick<Producer, 'send'>, topic: string, messages: readonly ProducedMessage[], options: Pick<SendBoundedOptions, 'timeoutMs'> = {}): Promise<TooLarge[]> {
  const [first] = messages;
  if (first === undefined) return [];
  const alone = messages.length === 1 ? { key: String(first.key), bytes: bytesOf(first) } : null;
  if (alone !== null && alone.bytes > MAX_MESSAGE_BYTES) return [alone];
  try {
    await producer.send(topic, messages, options);
    return [];
  } catch (error) {
    if (!isTooLarge(error)) throw error;
    if (alone !== null) return [alone];
    const middle = Math.ceil(messages.length / 2);
    return [...(await sendDivided(producer, topic, messages.slice(0, middle), options)), ...(await sendDivided(producer, topic, messages.slice(middle), options))];
  }
}

function* batchesOf(messages: readonly ProducedMessage[], maxBytes: number): Generator<ProducedMessage[]> {
  let [batch, bytes]: [ProducedMessage[], number] = [[], 0];
  for (const message of messages) {
    const size = bytesOf(message);
    if (batch.length > 0 && bytes + size > maxBytes) {
      yield batch;
      [batch, bytes] = [[], 0];
    }
    batch.push(message);
    bytes += size;
  }
  if (batch.length > 0) yield batch;
}

const sizeOf = (value: Buffer | string): number => (typeof value === 'string' ? Buffer.byteLength(value) : value.length);

const bytesOf = ({ key, value, headers = {} }: ProducedMessage): number => Object.entries(headers).reduce((sum, [name, header]) => sum + name.length + sizeOf(header), sizeOf(key) + sizeOf(value));

const REFUSALS: ReadonlySet<unknown> = new Set(['MESSAGE_TOO_LARGE', 'RECORD_LIST_TOO_LARGE']);

/** Whether a broker refused a request for its size. kafkajs hands its error on within others. */
export function isTooLarge(error: unknown): boolean {
  if (typeof error !== 'object' || error === null) return false;
  const { type, cause, originalError } = error as { type?: unknown; cause?: unknown; originalError?: unknown };
  return REFUSALS.has(type) || isTooLarge(cause) || isTooLarge(originalError);
}
