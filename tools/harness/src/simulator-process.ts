import { join } from 'node:path';

import { startChild, type Child, whileRunning } from './child.ts';
import { fetchJson } from './http.ts';
import { checkoutDir, compileCache } from './paths.ts';
import { waitUntil } from './wait-until.ts';

/** The CRM simulator in a process of its own, so that its work is not the apps'. */
export type SimulatorProcess = Child & { readonly url: string };

/** Starts the simulator on a port and returns once it answers. */
export async function startSimulatorProcess(args: readonly string[], { port, logDir, env }: { port: number; logDir: string; env: NodeJS.ProcessEnv }): Promise<SimulatorProcess> {
  const url = `http://127.0.0.1:${port}`;
  const child = startChild(process.execPath, [join(checkoutDir, 'tools/crm-simulator/src/main.ts'), '--port', String(port), ...args], {
    cwd: checkoutDir,
    env: { ...env, NODE_COMPILE_CACHE: compileCache },
    logFile: join(logDir, 'simulator.log'),
  });
  await whileRunning(child, 'simulator', waitUntil('the simulator to answer', () => fetchJson(`${url}/__simulator/counters`), { timeoutMs: 30_000 }));
  return { ...child, url };
}
