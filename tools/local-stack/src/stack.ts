import { claimDataDir, defaultDataDir } from './data-dir.ts';
import { dockerAnswers } from './docker-engine.ts';
import { startDockerKafka, startDockerPostgres } from './docker-services.ts';
import { startEmbeddedKafka } from './embedded-kafka.ts';
import { startEmbeddedPostgres } from './embedded-postgres.ts';
import type { Crashable, ServiceOptions } from './service.ts';

/** Where a service came from. */
export type ServiceProvider = 'environment' | 'docker' | 'embedded';

/** A running Kafka and Postgres. A service that was not requested has no brokers, or an empty URL. */
export type Stack = {
  /** `host:port` each. */
  kafkaBrokers: string[];
  databaseUrl: string;
  provider: { kafka: ServiceProvider; postgres: ServiceProvider };
  /** What may be crashed and started again: the embedded services. */
  crashable: { kafka?: Crashable; postgres?: Crashable };
  /** Stops what this call started, Kafka and Postgres together; leaves what came from the environment alone. May be repeated. */
  stop(): Promise<void>;
};

/** What to start, and how. */
export type StackOptions = {
  /** Where the embedded services keep their data; `.lockstep/stack` of the checkout by default. */
  dataDir?: string;
  /** True: remove the data of earlier runs first. */
  fresh?: boolean;
  /** Ports to listen on; free ones by default. */
  kafkaPort?: number;
  postgresPort?: number;
  /** False: fsync off, for tests. True by default. */
  durable?: boolean;
  /** Takes one line for each thing a person may want to know. Silent by default. */
  log?: (line: string) => void;
  /** Where KAFKA_BROKERS, DATABASE_URL, DOCKER_HOST, JAVA_HOME and PATH are read; `process.env` by default. */
  env?: NodeJS.ProcessEnv;
  /** Both by default. */
  needs?: ('kafka' | 'postgres')[];
};

type Started<T> = T & { provider: ServiceProvider; crashable?: Crashable; stop(): Promise<void> };
type Kafka = { brokers: string[] };
type Postgres = { url: string };

/**
 * Provides Kafka and Postgres, each from the first of these that is there: the environment (`KAFKA_BROKERS`, `DATABASE_URL`),
 * Docker, an embedded one. Returns once both do their work; a second start on the same folder finds its data again.
 * @throws {LocalStackError} see its codes; whatever had been started is stopped.
 */
export async function startStack(options: StackOptions = {}): Promise<Stack> {
  const env = options.env ?? process.env;
  const needs = options.needs ?? ['kafka', 'postgres'];
  const kafkaBrokers = (env['KAFKA_BROKERS'] ?? '').split(',').map((broker) => broker.trim()).filter((broker) => broker !== '');
  const given = {
    kafka: needs.includes('kafka') && kafkaBrokers.length === 0 ? undefined : fromEnvironment({ brokers: needs.includes('kafka') ? kafkaBrokers : [] }),
    postgres: needs.includes('postgres') && !env['DATABASE_URL'] ? undefined : fromEnvironment({ url: needs.includes('postgres') ? (env['DATABASE_URL'] ?? '') : '' }),
  };
  if (given.kafka !== undefined && given.postgres !== undefined) return stackOf(given.kafka, given.postgres, () => Promise.resolve());
  return await startMissing(options, env, given);
}

async function startMissing(options: StackOptions, env: NodeJS.ProcessEnv, given: { kafka: Started<Kafka> | undefined; postgres: Started<Postgres> | undefined }): Promise<Stack> {
  const { dataDir = defaultDataDir, durable = true, log = () => undefined } = options;
  const release = await claimDataDir(dataDir);
  try {
    const hasDocker = await dockerAnswers(env);
    const common = { dataDir, isFresh: options.fresh ?? false, isDurable: durable, env, log };
    const [kafka, postgres] = await both(
      given.kafka ?? firstOf<Kafka>(hasDocker, startDockerKafka, startEmbeddedKafka, { ...common, port: options.kafkaPort }),
      given.postgres ?? firstOf<Postgres>(hasDocker, startDockerPostgres, startEmbeddedPostgres, { ...common, port: options.postgresPort }),
    );
    return stackOf(kafka, postgres, release);
  } catch (error) {
    await release();
    throw error;
  }
}

type Start<T, More = unknown> = (options: ServiceOptions) => Promise<T & More & { stop(): Promise<void> }>;

/** Docker where an engine answers, else embedded; also embedded when the engine cannot run the image (no network, no image). */
async function firstOf<T>(hasDocker: boolean, docker: Start<T>, embedded: Start<T, Crashable>, options: ServiceOptions): Promise<Started<T>> {
  if (hasDocker) {
    try {
      return { ...(await docker(options)), provider: 'docker' };
    } catch (error) {
      options.log(`Docker answers but could not run the service (${String(error)}); taking the embedded one`);
    }
  }
  const service = await embedded(options);
  return { ...service, provider: 'embedded', crashable: service };
}

/** Starts both at once; when one fails, stops the other and fails with the first one's error. */
async function both<A extends { stop(): Promise<void> }, B extends { stop(): Promise<void> }>(a: A | Promise<A>, b: B | Promise<B>): Promise<[A, B]> {
  const [first, second] = await Promise.allSettled([a, b]);
  if (first.status === 'fulfilled' && second.status === 'fulfilled') return [first.value, second.value];
  for (const one of [first, second]) if (one.status === 'fulfilled') await one.value.stop();
  throw first.status === 'rejected' ? first.reason : (second as PromiseRejectedResult).reason;
}

function fromEnvironment<T>(service: T): Started<T> {
  return { ...service, provider: 'environment', stop: () => Promise.resolve() };
}

function stackOf(kafka: Started<Kafka>, postgres: Started<Postgres>, release: () => Promise<void>): Stack {
  const stop = async (): Promise<void> => {
    await Promise.all([kafka.stop(), postgres.stop()]);
    await release();
  };
  const crashable = { ...(kafka.crashable && { kafka: kafka.crashable }), ...(postgres.crashable && { postgres: postgres.crashable }) };
  return { kafkaBrokers: kafka.brokers, databaseUrl: postgres.url, provider: { kafka: kafka.provider, postgres: postgres.provider }, crashable, stop };
}
