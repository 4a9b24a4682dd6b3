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
 * Creates a fresh database on the test server, empty or with the example legacy schema.
 * @throws {LocalStackError} `STACK_NOT_RUNNING` outside a test with a Postgres set-up.
 */
export async function createTestDatabase({ legacySchema = false }: { legacySchema?: boolean } = {}): Promise<TestDatabase> {
  const name = uniqueName('test');
  await onServer(`create database ${name}`);
  const url = urlOfDatabase(name);
  if (legacySchema) await applyLegacySchema(url);
  return { url, drop: () => onServer(`drop database if exists ${name} with (force)`) };
}

function serverUrl(): string {
  const url = process.env['DATABASE_URL'];
  if (!url) throw new LocalStackError('DATABASE_URL is not set: this test needs the suffix .pg.test.ts, .kafka.test.ts or .e2e.test.ts', { code: 'STACK_NOT_RUNNING' });
  return url;
}

function urlOfDatabase(name: string): string {
  const url = new URL(serverUrl());
  url.pathname = `/${name}`;
  return url.href;
}

async function onServer(statement: string): Promise<void> {
  const client = new pg.Client({ connectionString: serverUrl(), connectionTimeoutMillis: 10_000 });
  await client.connect();
  try {
    await client.query(statement);
  } finally {
    await client.end();
  }
}
