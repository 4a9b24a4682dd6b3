import { readFileSync } from 'node:fs';
import { join } from 'node:path';

import { request } from 'undici';

import { type Child, startChild, whileRunning } from './child.ts';
import { checkoutDir, compileCache } from './paths.ts';
import { waitUntil } from './wait-until.ts';

/** The apps, in the order they are started. */
export const appNames = ['projector', 'ingress', 'scheduler'] as const;
export type AppName = (typeof appNames)[number];

/** One of several processes of an app: `ingress` is the first, `ingress-2` the second. */
export type InstanceName = AppName | `${AppName}-${number}`;

/** One running app. */
export type AppProcess = Child & {
  readonly name: InstanceName;
  readonly url: string;
  /** Settles once `/readyz` says yes. @throws {HarnessError} `APP_ENDED`, `TIMED_OUT` */
  ready(timeoutMs?: number): Promise<void>;
  /** Peak resident set since its start, megabytes (`VmHWM`; Linux only, else 0). */
  peakRssMb(): number;
};

/*
 * As production runs them (see docker-compose.yml): limits on V8's two generations, so that the garbage of a hot loop is
 * collected instead of piled up. They cost a tenth of the speed on a page of 200,000 rows and bring ingress and projector from
 * about 350 MB each to 235 and 175.
 */
const nodeFlags = ['--max-semi-space-size=16', '--max-old-space-size=1024'];
/** glibc gives each thread a heap of its own, and what one frees the others do not get: with two in all, 1,000,000 rows take 30 MB less. */
const allocator = { MALLOC_ARENA_MAX: '2' };

/** Starts an app as its own process, as production does. */
export function startApp(name: InstanceName, { env, port, logDir }: { env: NodeJS.ProcessEnv; port: number; logDir: string }): AppProcess {
  const url = `http://127.0.0.1:${port}`;
  const app = appOf(name);
  const child = startChild(process.execPath, [...nodeFlags, join(checkoutDir, 'apps', app, 'src/main.ts')], {
    cwd: join(checkoutDir, 'apps', app),
    env: { ...allocator, ...env, NODE_COMPILE_CACHE: compileCache, [`${app.toUpperCase()}_PORT`]: String(port) },
    logFile: join(logDir, `${name}.log`),
  });
  const ready = async (timeoutMs = 60_000): Promise<void> => void (await whileRunning(child, name, waitUntil(`${name} to be ready`, () => isReady(url), { timeoutMs })));
  return { ...child, name, url, ready, peakRssMb: () => peakRssMb(child.pid) };
}

/** The app an instance is of. */
export const appOf = (name: InstanceName): AppName => name.replace(/-\d+$/, '') as AppName;

/** The names of so many instances of each app; one where nothing is said. */
export const instancesOf = (counts: Partial<Record<AppName, number>>): InstanceName[] =>
  appNames.flatMap((app) => Array.from({ length: counts[app] ?? 1 }, (_, at): InstanceName => (at === 0 ? app : `${app}-${at + 1}`)));

async function isReady(url: string): Promise<true | null> {
  const { statusCode, body } = await request(`${url}/readyz`, { headersTimeout: 2_000, bodyTimeout: 2_000 });
  await body.dump();
  return statusCode === 200 ? true : null;
}

/** Peak resident set of a process, megabytes; 0 where the system does not show it. */
export function peakRssMb(pid: number): number {
  try {
    const [, kilobytes = '0'] = /VmHWM:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8')) ?? [];
    return Math.round(Number(kilobytes) / 1024);
  } catch {
    return 0;
  }
}
