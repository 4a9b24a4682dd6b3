import { provideTestStack } from './test-stack.ts';

/** Vitest global set-up for `*.pg.test.ts`: Postgres at `DATABASE_URL`. */
export default (): Promise<() => Promise<void>> => provideTestStack(['postgres']);
