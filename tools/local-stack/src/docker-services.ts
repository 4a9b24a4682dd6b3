import { setTimeout as delay } from 'node:timers/promises';
import type { StartedTestContainer } from 'testcontainers';
import { LocalStackError } from './errors.ts';
import { freePort } from './free-port.ts';
import { assertServesGroups } from './kafka-admin.ts';
import type { ServiceOptions } from './service.ts';

/**
 * The services in containers. Their data lives as long as the container: a second start begins empty. testcontainers is loaded
 * only here, because its import takes over a second.
 */
const images = { kafka: 'apache/kafka:4.3.1', postgres: 'postgres:18.4' };
const startWithinMs = 60_000;
const pullAndStartWithinMs = 300_000;
const credentials = { user: 'lockstep', password: 'lockstep', database: 'legacy' };

/** Starts the broker in a container and returns once it serves consumer groups. */
export async function startDockerKafka({ port }: ServiceOptions): Promise<{ brokers: string[]; stop(): Promise<void> }> {
  const { GenericContainer } = await import('testcontainers');
  const hostPort = port ?? (await freePort()); // fixed, because the broker has to advertise it
  const brokers = [`127.0.0.1:${hostPort}`];
  const container = new GenericContainer(images.kafka).withEnvironment(kafkaEnvironment(hostPort)).withExposedPorts({ container: 9092, host: hostPort });
  const started = await bounded(container.withStartupTimeout(startWithinMs).start(), images.kafka);
  await untilServed(started, brokers);
  return { brokers, stop: () => stop(started) };
}

/** The variables of the image apache/kafka; one of them set means that none of its defaults hold. */
const kafkaEnvironment = (hostPort: number): Record<string, string> => ({
  KAFKA_NODE_ID: '1',
  KAFKA_PROCESS_ROLES: 'broker,controller',
  KAFKA_LISTENERS: 'PLAINTEXT://:9092,CONTROLLER://:9093',
  KAFKA_ADVERTISED_LISTENERS: `PLAINTEXT://127.0.0.1:${hostPort}`,
  KAFKA_CONTROLLER_LISTENER_NAMES: 'CONTROLLER',
  KAFKA_LISTENER_SECURITY_PROTOCOL_MAP: 'CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT',
  KAFKA_CONTROLLER_QUORUM_VOTERS: '1@localhost:9093',
  KAFKA_AUTO_CREATE_TOPICS_ENABLE: 'false',
  KAFKA_OFFSETS_TOPIC_NUM_PARTITIONS: '1',
  KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR: '1',
  KAFKA_TRANSACTION_STATE_LOG_REPLICATION_FACTOR: '1',
  KAFKA_TRANSACTION_STATE_LOG_MIN_ISR: '1',
  KAFKA_SHARE_COORDINATOR_STATE_TOPIC_REPLICATION_FACTOR: '1',
  KAFKA_SHARE_COORDINATOR_STATE_TOPIC_MIN_ISR: '1',
  KAFKA_GROUP_INITIAL_REBALANCE_DELAY_MS: '0',
  KAFKA_HEAP_OPTS: '-Xmx512m',
});

/** Starts Postgres in a container and returns once it listens for good (its first start restarts once). */
export async function startDockerPostgres({ port, isDurable }: ServiceOptions): Promise<{ url: string; stop(): Promise<void> }> {
  const { GenericContainer, Wait } = await import('testcontainers');
  const settings = ['max_connections=200', ...(isDurable ? [] : ['fsync=off', 'synchronous_commit=off', 'full_page_writes=off'])];
  const hostPort = port ?? (await freePort());
  const container = new GenericContainer(images.postgres)
    .withEnvironment({ POSTGRES_USER: credentials.user, POSTGRES_PASSWORD: credentials.password, POSTGRES_DB: credentials.database })
    .withCommand(['postgres', ...settings.flatMap((setting) => ['-c', setting])])
    .withExposedPorts({ container: 5432, host: hostPort })
    .withWaitStrategy(Wait.forLogMessage(/database system is ready to accept connections/, 2));
  const started = await bounded(container.withStartupTimeout(startWithinMs).start(), images.postgres);
  const url = `postgres://${credentials.user}:${credentials.password}@127.0.0.1:${hostPort}/${credentials.database}`;
  return { url, stop: () => stop(started) };
}

/** testcontainers bounds the start, but not the download of the image before it. A container that comes too late is stopped. */
async function bounded(starting: Promise<StartedTestContainer>, image: string): Promise<StartedTestContainer> {
  const started = await Promise.race([starting, delay(pullAndStartWithinMs, undefined, { ref: false })]);
  if (started !== undefined) return started;
  void starting.then(stop, () => undefined); // nothing waits for it any more
  throw new LocalStackError(`${image} did not start within ${pullAndStartWithinMs / 1000} s`, { code: 'STACK_START_FAILED', retryable: true });
}

async function untilServed(container: StartedTestContainer, brokers: readonly string[]): Promise<void> {
  const deadline = Date.now() + startWithinMs;
  for (;;) {
    try {
      return await assertServesGroups(brokers);
    } catch (cause) {
      if (Date.now() > deadline) {
        await stop(container);
        throw new LocalStackError(`Kafka in Docker (${images.kafka}) did not serve consumer groups within ${startWithinMs / 1000} s`, { code: 'STACK_START_FAILED', cause });
      }
      await delay(100);
    }
  }
}

async function stop(container: StartedTestContainer): Promise<void> {
  await container.stop();
}
