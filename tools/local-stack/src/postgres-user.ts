import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { LocalStackError } from './errors.ts';

const run = promisify(execFile);

/** The user Postgres runs as. */
export type PostgresUser = { readonly uid: number; readonly gid: number };

/**
 * Postgres refuses to run as root: root runs it as the system's user `postgres`, which is created where there is none (root on
 * a container or a build machine is the usual case). Anybody else runs it as themselves.
 * @returns undefined when the server runs as the current user.
 * @throws {LocalStackError} `STACK_POSTGRES_UNAVAILABLE`
 */
export async function postgresUser(): Promise<PostgresUser | undefined> {
  if (process.getuid?.() !== 0) return undefined;
  return (await lookUp()) ?? (await create());
}

async function lookUp(): Promise<PostgresUser | undefined> {
  try {
    const [uid, gid] = await Promise.all(['-u', '-g'].map(async (flag) => Number((await run('id', [flag, 'postgres'])).stdout)));
    return uid === undefined || gid === undefined ? undefined : { uid, gid };
  } catch {
    return undefined; // there is no such user
  }
}

async function create(): Promise<PostgresUser> {
  try {
    await run('useradd', ['--system', '--user-group', '--no-create-home', 'postgres']);
  } catch (cause) {
    throw unavailable(cause);
  }
  return (await lookUp()) ?? Promise.reject(unavailable());
}

function unavailable(cause?: unknown): LocalStackError {
  const message = 'Postgres cannot run as root, and the user "postgres" could not be created. Run as another user, create that user, run Docker, or set DATABASE_URL.';
  return new LocalStackError(message, { code: 'STACK_POSTGRES_UNAVAILABLE', cause });
}
