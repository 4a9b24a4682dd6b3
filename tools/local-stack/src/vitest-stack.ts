import { provideTestStack } from './test-stack.ts';

/** Vitest global set-up for `*.kafka.test.ts`: Kafka at `KAFKA_BROKERS`, Postgres at `DATABASE_URL`. */
export default (): Promise<() => Promise<void>> => provideTestStack(['kafka', 'postgres']);
