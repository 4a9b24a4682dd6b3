/** Variables of the environment that are missing or wrong. */
export class ConfigError extends Error {
  /** One per problem: the variables, and what is wrong. */
  readonly problems: readonly string[];

  constructor(problems: readonly string[]) {
    super(`The configuration is not complete:\n${problems.map((problem) => `  ${problem}`).join('\n')}`);
    this.name = 'ConfigError';
    this.problems = problems;
  }
}

type Loaded<L extends readonly (() => unknown)[]> = { -readonly [K in keyof L]: ReturnType<L[K]> };

/**
 * Loads several parts of a configuration, so that a person sees at once what all of them lack.
 * @throws {ConfigError} with the problems of every part; anything else that a part throws.
 */
export function loadTogether<L extends readonly (() => unknown)[]>(...loaders: L): Loaded<L> {
  const problems: string[] = [];
  const loaded = loaders.map((load) => {
    try {
      return load();
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error;
      problems.push(...error.problems);
      return undefined;
    }
  });
  if (problems.length > 0) throw new ConfigError(problems);
  return loaded as Loaded<L>;
}

/** Loads a process's configuration. Where something is wrong in it, that is written to stderr, and the process ends with exit code 2. */
export async function configured<T>(load: () => T | Promise<T>): Promise<T> {
  try {
    return await load();
  } catch (error) {
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
    process.exit(2);
  }
}
