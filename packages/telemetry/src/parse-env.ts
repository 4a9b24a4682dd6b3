import { z } from 'zod';

/**
 * Parses environment variables, once, at start.
 * @throws {Error} with one line per variable that is missing or wrong, and what it is for.
 */
export function parseEnv<S extends z.ZodObject>(schema: S, env: NodeJS.ProcessEnv): z.infer<S> {
  const parsed = schema.safeParse(env);
  if (parsed.success) return parsed.data;
  const lines = parsed.error.issues.map((issue) => {
    const name = issue.path.join('.');
    const description = (schema.shape[name] as z.ZodType | undefined)?.description;
    return `  ${name}: ${issue.message}${description === undefined ? '' : ` (${description})`}`;
  });
  throw new Error(`The configuration is not complete:\n${lines.join('\n')}`);
}
