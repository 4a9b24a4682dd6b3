import type { Logger } from '@lockstep/telemetry';
import { parseEnv } from '@lockstep/telemetry';
import type { Kafka, logLevel, SASLOptions } from 'kafkajs';
import { z } from 'zod';

import { kafkajs } from './kafkajs.ts';

const schema = z.object({
  KAFKA_BROKERS: z.string().min(1).describe('host:port of the brokers, separated by commas'),
  KAFKA_SSL: z.stringbool().default(false).describe('true: connect by TLS'),
  KAFKA_SASL_MECHANISM: z.enum(['plain', 'scram-sha-256', 'scram-sha-512']).optional(),
  KAFKA_SASL_USERNAME: z.string().default(''),
  KAFKA_SASL_PASSWORD: z.string().default(''),
});

/** How to reach the brokers. */
export type KafkaConfig = { readonly brokers: readonly string[]; readonly ssl: boolean; readonly sasl: SASLOptions | undefined };

/** @throws {Error} naming the variable that is missing or wrong. */
export function loadKafkaConfig(env: NodeJS.ProcessEnv): KafkaConfig {
  const { KAFKA_BROKERS, KAFKA_SSL, KAFKA_SASL_MECHANISM: mechanism, KAFKA_SASL_USERNAME: username, KAFKA_SASL_PASSWORD: password } = parseEnv(schema, env);
  return {
    brokers: KAFKA_BROKERS.split(',').map((broker) => broker.trim()),
    ssl: KAFKA_SSL,
    sasl: mechanism === undefined ? undefined : { mechanism, username, password },
  };
}

/** A client of the cluster; producers, consumers and admins are made from it. Opaque: kafkajs stays behind this package. */
export type KafkaClient = { readonly kafka: Kafka; readonly log: Logger };

/** Makes a client. It connects to nothing yet. */
export function createKafka({ config, clientId, log }: { config: KafkaConfig; clientId: string; log: Logger }): KafkaClient {
  const child = log.child({ part: 'kafka' });
  const { brokers, ssl, sasl } = config;
  const kafka = new kafkajs.Kafka({
    clientId,
    brokers: [...brokers],
    ssl,
    ...(sasl === undefined ? {} : { sasl }),
    connectionTimeout: 3_000,
    requestTimeout: 30_000,
    retry: { initialRetryTime: 100, maxRetryTime: 2_000, retries: 8 },
    logLevel: kafkajs.logLevel.WARN,
    logCreator: () => logEntry(child),
  });
  return { kafka, log: child };
}

// What kafkajs calls an error is retried; what is left in the end is thrown, and logged where it is caught.
const logEntry = (log: Logger) => ({ label, log: { message, broker, clientId, groupId, error } }: { level: logLevel; label: string; log: Record<string, unknown> }): void => {
  log.debug({ label, broker, clientId, groupId, error }, String(message));
};
