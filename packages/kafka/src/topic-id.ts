import { createRequire } from 'node:module';

import type { Kafka } from 'kafkajs';

import { type Cluster, connectCluster, symbolNamed } from './cluster.ts';
import { KafkaError } from './errors.ts';

/*
 * kafkajs speaks Metadata up to version 6, and a topic's id came with version 10. So the request is written here, in version
 * 12, and sent through kafkajs's own connection, which keeps its TLS, SASL and retries. From version 9 on strings and arrays
 * are "compact" (length + 1 as a varint) and structures end with tagged fields; the header too has them.
 * See the Kafka protocol guide, "Metadata API (Key: 3)".
 */
const METADATA = 3;
const VERSION = 12;

type Encoder = { writeUVarInt(n: number): Encoder; writeBuffer(b: Buffer): Encoder; writeInt8(n: number): Encoder };

const EncoderClass = createRequire(import.meta.url)('kafkajs/src/protocol/encoder.js') as new () => Encoder;

/** Reads topic ids, over one connection that is made at the first question. */
export function topicIdReader(kafka: Kafka): { read(topic: string): Promise<string>; close(): Promise<void> } {
  let connected: Promise<Cluster> | undefined;
  const cluster = (): Promise<Cluster> => {
    connected ??= connectCluster(kafka).catch((error: unknown) => {
      connected = undefined;
      throw error;
    });
    return connected;
  };
  return {
    read: async (topic) => {
      const known = await cluster();
      // The controller is known from metadata only, and may have moved.
      await known.refreshMetadata();
      const broker = await known.findControllerBroker();
      const send = broker[symbolNamed(broker, 'private:Broker:sendRequest')];
      if (send === undefined) throw new KafkaError('kafkajs has no sendRequest', 'KAFKAJS_VERSION');
      return await send.call(broker, metadataProtocol(topic));
    },
    close: async () => {
      await (await connected)?.disconnect();
    },
  };
}

const metadataProtocol = (topic: string) => ({
  request: { apiKey: METADATA, apiVersion: VERSION, apiName: 'Metadata', encode: () => Promise.resolve(metadataRequest(topic)) },
  response: { decode: (data: Buffer) => Promise.resolve(data), parse: (data: Buffer) => Promise.resolve(readTopicId(data, topic)) },
});

function metadataRequest(topic: string): Encoder {
  const name = Buffer.from(topic);
  const head = Buffer.concat([
    Buffer.from([0]), // the header's tagged fields
    Buffer.from([2]), // one topic
    Buffer.alloc(16), // by name, so its id is zero
    uvarint(name.length + 1),
    name,
    Buffer.from([0, 0, 0, 0]), // the topic's tags; do not create it; no authorized operations; tags
  ]);
  return new EncoderClass().writeBuffer(head);
}

function uvarint(value: number): Buffer {
  const bytes: number[] = [];
  for (let rest = value; ; rest >>>= 7) {
    if (rest < 0x80) return Buffer.from([...bytes, rest]);
    bytes.push((rest & 0x7f) | 0x80);
  }
}

function readTopicId(data: Buffer, topic: string): string {
  let at = 0;
  const varint = (): number => {
    let value = 0;
    for (let shift = 0; ; shift += 7) {
      const byte = data[at++] ?? 0;
      value |= (byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
  };
  const skipString = (): void => {
    const length = varint() - 1; // not inside the sum below: varint moves `at` itself
    at += Math.max(length, 0);
  };
  const skipTags = (): void => {
    for (let count = varint(); count > 0; count -= 1) {
      varint();
      const length = varint();
      at += length;
    }
  };
  skipTags(); // of the header
  at += 4; // throttle time
  for (let brokers = varint() - 1; brokers > 0; brokers -= 1) {
    at += 4;
    skipString();
    at += 4;
    skipString();
    skipTags();
  }
  skipString(); // cluster id
  at += 4; // controller
  varint(); // one topic
  const errorCode = data.readInt16BE(at);
  at += 2;
  if (errorCode !== 0) throw new KafkaError(`topic ${topic} does not exist (Kafka error ${errorCode})`, 'TOPIC_MISSING');
  skipString();
  const hex = data.toString('hex', at, at + 16);
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');
}
