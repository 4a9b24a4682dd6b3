import { existsSync } from 'node:fs';
import { join } from 'node:path';

import { type AppName, appNames } from './app-process.ts';
import { type Child, startChild, whileRunning } from './child.ts';
import { HarnessError } from './errors.ts';
import { fetchJson } from './http.ts';
import { checkoutDir } from './paths.ts';
import { waitUntil } from './wait-until.ts';

/**
 * The projects to be served: the three apps, and the consumers that `LOCKSTEP_CONSUMERS` names, e.g. `deals-won,history`.
 * @throws {HarnessError} for one that is no app: Nx would pass over it in silence.
 */
export function servedProjects({ LOCKSTEP_CONSUMERS: consumers = '' }: NodeJS.ProcessEnv): string[] {
  const names = consumers.split(',').map((name) => name.trim()).filter((name) => name !== '');
  const unknown = names.find((name) => !existsSync(join(checkoutDir, 'apps', name, 'package.json')));
  if (unknown !== undefined) throw new HarnessError(`LOCKSTEP_CONSUMERS names "${unknown}", and there is no apps/${unknown}`, 'APP_ENDED');
  return [...appNames, ...names].map((name) => `${SCOPE}${name}`);
}

const SCOPE = '@lockstep/';
const nameOf = (project: string): string => project.slice(SCOPE.length);

/** Where a consumer listens, as it says in its log under Nx once it is ready. */
export function readyUrl(log: string, name: string): string | undefined {
  const prefix = `${SCOPE}${name}: {`;
  const lines = log.split('\n').filter((line) => line.startsWith(prefix) && line.includes(`"msg":"${name} is ready"`));
  const last = lines.at(-1);
  return last === undefined ? undefined : (JSON.parse(last.slice(prefix.length - 1)) as { url?: string }).url;
}

type UnderNxOptions = {
  readonly env: NodeJS.ProcessEnv;
  readonly urls: Record<AppName, string>;
  readonly logDir: string;
  readonly signal: AbortSignal | undefined;
  /** Is given a line for each consumer that is ready. */
  readonly log: (line: string) => void;
};

/** Starts the apps as `nx run-many -t serve` does, and returns once each of the three, and each consumer, is ready. @throws {HarnessError} with what an app said. */
export async function startUnderNx({ env, urls, logDir, signal, log }: UnderNxOptions): Promise<Child> {
  const portEnv = Object.fromEntries(appNames.map((name) => [`${name.toUpperCase()}_PORT`, new URL(urls[name]).port]));
  const projects = servedProjects(env);
  // Nx itself is started, not npm: a signal to npm would leave Nx and the apps behind.
  const nx = startChild(join(checkoutDir, 'node_modules/.bin/nx'), ['run-many', '-t', 'serve', '-p', projects.join(','), '--output-style=stream'], {
    cwd: checkoutDir,
    env: { ...env, ...portEnv, FORCE_COLOR: '0' },
    logFile: join(logDir, 'apps.log'),
  });
  try {
    for (const name of appNames) await whileRunning(nx, 'nx', underNxReady({ name, nx, signal, isReady: () => fetchJson(`${urls[name]}/readyz`).then(() => true as const) }));
    for (const name of projects.slice(appNames.length).map(nameOf)) {
      let url: string | undefined;
      const isReady = async (): Promise<true> => {
        url = readyUrl(nx.log(), name);
        if (url === undefined) throw new HarnessError(`${name} is not ready`, 'APP_ENDED');
        return true;
      };
      await whileRunning(nx, 'nx', underNxReady({ name, nx, signal, isReady }));
      log(`${name} is ready: ${url}`);
    }
  } catch (error) {
    await nx.stop();
    throw error;
  }
  return nx;
}

/** Under Nx an app that fails leaves Nx waiting for a change of its code: so its log is read, to fail at once and say why. */
async function underNxReady({ name, nx, signal, isReady }: { name: string; nx: Child; signal: AbortSignal | undefined; isReady: () => Promise<true> }): Promise<void> {
  let fatal: string | undefined;
  const ready = async (): Promise<true> => {
    fatal ??= fatalLine(nx.logTail());
    return fatal === undefined ? await isReady() : true;
  };
  await waitUntil(`${name} to be ready`, ready, { timeoutMs: 90_000, ...(signal === undefined ? {} : { signal }) });
  if (fatal !== undefined) throw new HarnessError(fatal, 'APP_ENDED');
}

/** What an app or a consumer said when it could not go on, as its log under Nx has it. */
export function fatalLine(log: string): string | undefined {
  const wrong = [...log.matchAll(/^@lockstep\/([\w-]+): {3}([A-Z_]+(?:, [A-Z_]+)*: .*)$/gm)].map(([, app, problem]) => `${app}: ${problem}`);
  if (wrong.length > 0) return `The configuration is not complete:\n  ${wrong.join('\n  ')}`;
  const [, app = '', json = ''] = /^@lockstep\/([\w-]+): (\{"level":60.*\})$/m.exec(log) ?? [];
  if (json === '') return undefined;
  const { err } = JSON.parse(json) as { err?: { message?: string } };
  return `${app} cannot go on: ${err?.message ?? json}`;
}
