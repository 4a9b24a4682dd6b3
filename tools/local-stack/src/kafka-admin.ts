import type { Admin } from 'kafkajs';

import { quietKafkaTimer } from './kafka-timer.ts';
import { kafkajs } from './kafkajs.ts';

quietKafkaTimer();

/** Runs `work` with an administration client that is silent, tries once, and is closed again. */
export async function withAdmin<T>(brokers: readonly string[], work: (admin: Admin) => Promise<T>): Promise<T> {
  const { Kafka, logLevel } = kafkajs;
  const kafka = new Kafka({ clientId: 'local-stack', brokers: [...brokers], logLevel: logLevel.NOTHING, connectionTimeout: 5_000, requestTimeout: 10_000, retry: { retries: 0 } });
  const admin = kafka.admin();
  try {
    await admin.connect();
    return await work(admin);
  } finally {
    await admin.disconnect().catch(() => undefined); // it may never have been connected
  }
}

/**
 * Fails until the broker serves consumer groups: until their coordinator is found and has loaded its offsets. It is the last
 * part of a broker to come up; the first question creates the topic it keeps them in.
 */
export async function assertServesGroups(brokers: readonly string[]): Promise<void> {
  await withAdmin(brokers, async (admin) => {
    await admin.describeCluster(); // kafkajs looks for coordinators among the brokers it knows, and this gets to know them
    await admin.describeGroups(['lockstep-readiness']);
  });
}
