import pg from 'pg';
import { LocalStackError } from './errors.ts';
import { applyLegacySchema } from './legacy-schema.ts';
import { uniqueName } from './unique-name.ts';

/** A database of a test's own. */
export type TestDatabase = {
  url: string;
  /** Removes it, with whatever sessions it still has. Repeating it does nothing. */
  drop(): Promise<void>;
};

/**
 * Creates a fresh database, empty or with the example legacy schema.
 * @param serverUrl the server to create it on; the running test server by default.
 * @throws {LocalStackError} `STACK_NOT_RUNNING` outside a test with a Postgres set-up.
 */
export async function createTestDatabase({ legacySchema = false, serverUrl = testServerUrl() }: { legacySchema?: boolean; serverUrl?: string } = {}): Promise<TestDatabase> {
  const name = uniqueName('test');
  await onServer(serverUrl, `create database ${name}`);
  const url = new URL(serverUrl);
  url.pathname = `/${name}`;
  if (legacySchema) await applyLegacySchema(url.href);
  return { url: url.href, drop: () => onServer(serverUrl, `drop database if exists ${name} with (force)`) };
}

function testServerUrl(): string {
  const url = process.env['DATABASE_URL'];
  if (!url) throw new LocalStackError('DATABASE_URL is not set: this test needs the suffix .pg.test.ts or .kafka.test.ts', { code: 'STACK_NOT_RUNNING' });
  return url;
}

async function onServer(serverUrl: string, statement: string): Promise<void> {
  const client = new pg.Client({ connectionString: serverUrl, connectionTimeoutMillis: 10_000 });
  await client.connect();
  try {
    await client.query(statement);
  } finally {
    await client.end();
  }
}
