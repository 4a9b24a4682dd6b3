import { readFileSync } from 'node:fs';
import { join } from 'node:path';

import { request } from 'undici';

import { type Child, startChild, whileRunning } from './child.ts';
import { checkoutDir, compileCache } from './paths.ts';
import { waitUntil } from './wait-until.ts';

/** The apps, in the order they are started. */
export const appNames = ['projector', 'ingress', 'scheduler'] as const;
export type AppName = (typeof appNames)[number];

/** One running app. */
export type AppProcess = Child & {
  readonly name: AppName;
  readonly url: string;
  /** Peak resident set since its start, megabytes (`VmHWM`; Linux only, else 0). */
  peakRssMb(): number;
};

/*
 * As production runs them (see docker-compose.yml): limits on V8's two generations, so that the garbage of a hot loop is
 * collected instead of piled up. They cost a tenth of the speed on a page of 200,000 rows and bring ingress and projector from
 * about 350 MB each to 235 and 175.
 */
const nodeFlags = ['--max-semi-space-size=16', '--max-old-space-size=1024'];

/** Starts an app as its own process, as production does, and returns once `/readyz` says yes. */
export async function startApp(name: AppName, { env, port, logDir, readyTimeoutMs = 60_000 }: { env: NodeJS.ProcessEnv; port: number; logDir: string; readyTimeoutMs?: number }): Promise<AppProcess> {
  const url = `http://127.0.0.1:${port}`;
  const child = startChild(process.execPath, [...nodeFlags, join(checkoutDir, 'apps', name, 'src/main.ts')], {
    cwd: join(checkoutDir, 'apps', name),
    env: { ...env, NODE_COMPILE_CACHE: compileCache, [`${name.toUpperCase()}_PORT`]: String(port) },
    logFile: join(logDir, `${name}.log`),
  });
  await whileRunning(child, name, waitUntil(`${name} to be ready`, () => isReady(url), { timeoutMs: readyTimeoutMs }));
  return { ...child, name, url, peakRssMb: () => peakRssMb(child.pid) };
}

async function isReady(url: string): Promise<true | null> {
  const { statusCode, body } = await request(`${url}/readyz`, { headersTimeout: 2_000, bodyTimeout: 2_000 });
  await body.dump();
  return statusCode === 200 ? true : null;
}

/** Peak resident set of a process, megabytes; 0 where the system does not tell. */
export function peakRssMb(pid: number): number {
  try {
    const [, kilobytes = '0'] = /VmHWM:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8')) ?? [];
    return Math.round(Number(kilobytes) / 1024);
  } catch {
    return 0;
  }
}
