import { z } from 'zod';

import { ConfigError } from './config-error.ts';

/**
 * Parses environment variables, once, at start.
 * @throws {ConfigError} with one line per variable that is missing or wrong, and what it is for.
 */
export function parseEnv<S extends z.ZodObject>(schema: S, env: NodeJS.ProcessEnv): z.infer<S> {
  const parsed = schema.safeParse(env);
  if (parsed.success) return parsed.data;
  throw new ConfigError(
    parsed.error.issues.map((issue) => {
      const name = issue.path.join('.');
      const description = (schema.shape[name] as z.ZodType | undefined)?.description;
      return `${name}: ${env[name] === undefined ? 'is missing' : issue.message}${description === undefined ? '' : ` (${description})`}`;
    }),
  );
}
