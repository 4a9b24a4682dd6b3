import { randomBytes } from 'node:crypto';
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';

import { applyLegacySchema, freePort, startStack, type Stack } from '@lockstep/local-stack';

import { type AppName, appNames, type AppProcess, startApp } from './app-process.ts';
import type { Child } from './child.ts';
import { checkoutDir } from './paths.ts';
import { endLeftOver, knownProcess } from './left-over.ts';
import { type SimulatorProcess, startSimulatorProcess } from './simulator-process.ts';
import { startUnderNx } from './under-nx.ts';

/** What to run, and with what. */
export type LockstepOptions = {
  /** A stack that runs already; else one is started, and stopped at the end. */
  readonly stack?: Pick<Stack, 'kafkaBrokers' | 'databaseUrl'>;
  /** Where data, logs and downloads go. */
  readonly dataDir?: string;
  /** A stack of its own, even where `KAFKA_BROKERS` or `DATABASE_URL` name one: for what must not mix with anything else. */
  readonly isolated?: boolean;
  /** False: nothing is flushed to disk, for tests. True by default. */
  readonly durable?: boolean;
  /** Begin with empty data folders. */
  readonly fresh?: boolean;
  readonly modules?: readonly string[];
  readonly apiVersion?: 'v6' | 'v7' | 'v8';
  /** Arguments of the simulator's command line; null takes the CRM that `CRM_*` names. */
  readonly simulator: readonly string[] | null;
  /** True: the apps run under `nx run-many -t serve`, and restart when their code changes. */
  readonly underNx?: boolean;
  /** More environment for the apps. */
  readonly env?: NodeJS.ProcessEnv;
  readonly log?: (line: string) => void;
  /** A free one by default. */
  readonly ingressPort?: number;
  /** Ends the start: what had been started is stopped, and the promise rejects. */
  readonly signal?: AbortSignal;
  /** Called once the CRM simulator answers, before the apps are started. */
  readonly onSimulator?: (simulator: SimulatorProcess) => void;
};

/** Everything, running. */
export type Lockstep = {
  readonly kafkaBrokers: readonly string[];
  readonly databaseUrl: string;
  readonly provider: Stack['provider'] | undefined;
  readonly simulator: SimulatorProcess | undefined;
  readonly urls: Readonly<Record<AppName, string>>;
  /** The apps by name; empty under Nx, which runs them as its own children. */
  readonly apps: Partial<Record<AppName, AppProcess>>;
  /** Starts an app again, on its former port, after it ended. */
  restart(name: AppName): Promise<AppProcess>;
  /** Ends apps, simulator and stack, in this order; may be repeated. */
  stop(): Promise<void>;
  /** Settles when something ends that should not. */
  readonly broken: Promise<string>;
};

/** Starts stack, simulator and the three apps on free ports, and writes `.lockstep/run.json` for the command line. */
export async function startLockstep(options: LockstepOptions): Promise<Lockstep> {
  const { dataDir = join(checkoutDir, '.lockstep') } = options;
  const logDir = join(dataDir, 'logs');
  const closers: (() => Promise<void>)[] = [];
  const stop = async (): Promise<void> => {
    for (let close = closers.pop(); close !== undefined; close = closers.pop()) await close();
  };
  try {
    const runFile = join(dataDir, 'run.json');
    await rm(logDir, { recursive: true, force: true });
    if ((await endLeftOver(runFile)) > 0) options.log?.('what an earlier run had left behind was ended');
    const { stack, provider } = options.stack === undefined ? await startOwnStack(join(dataDir, 'stack'), options, closers) : { stack: options.stack, provider: undefined };
    // A database that was given has its legacy schema already: it is the one to be kept in step.
    if (provider?.postgres !== 'environment') await applyLegacySchema(stack.databaseUrl);

    options.signal?.throwIfAborted();
    const ports = { ingress: options.ingressPort ?? (await freePort()), projector: await freePort(), scheduler: await freePort() };
    const urls = { ingress: urlOf(ports.ingress), projector: urlOf(ports.projector), scheduler: urlOf(ports.scheduler) };
    const simulator = options.simulator === null ? undefined : await startSimulatorProcess(options.simulator, { port: await freePort(), logDir, env: process.env });
    if (simulator !== undefined) {
      closers.push(() => simulator.stop());
      options.onSimulator?.(simulator);
    }

    const crm = simulator === undefined ? {} : { ...crmEnvironment(simulator.url, options.apiVersion ?? 'v8'), ...paceOf(options.simulator ?? []) };
    const env: NodeJS.ProcessEnv = {
      ...process.env,
      ...crm,
      KAFKA_BROKERS: stack.kafkaBrokers.join(','),
      DATABASE_URL: stack.databaseUrl,
      LOCKSTEP_SECRET: process.env['LOCKSTEP_SECRET'] ?? randomBytes(24).toString('base64url'),
      LOCKSTEP_PUBLIC_URL: process.env['LOCKSTEP_PUBLIC_URL'] ?? urls.ingress,
      LOCKSTEP_MODULES: (options.modules ?? ['Leads', 'Deals', 'Products']).join(','),
      LOCKSTEP_DATA_DIR: join(dataDir, 'data'),
      // Brokers that were given are checked as in production.
      ...(provider?.kafka === 'environment' ? {} : { LOCKSTEP_LOCAL_STACK: '1' }),
      ...options.env,
    };
    const apps: Partial<Record<AppName, AppProcess>> = {};
    const start = async (name: AppName): Promise<AppProcess> => {
      const app = await startApp(name, { env, port: ports[name], logDir });
      apps[name] = app;
      return app;
    };
    let nx: Child | undefined;
    if (options.underNx === true) {
      nx = await startUnderNx({ env, ports, urls, logDir, signal: options.signal });
      const running = nx;
      closers.push(() => running.stop());
    } else {
      closers.push(async () => void (await Promise.all(Object.values(apps).map((app) => app.stop()))));
      await Promise.all(appNames.map(start));
    }
    const processes = [simulator, nx, ...Object.values(apps)].flatMap((child) => (child === undefined ? [] : (knownProcess(child.pid) ?? [])));
    await writeRunFile(runFile, { ...urls, simulator: simulator?.url, databaseUrl: stack.databaseUrl, kafkaBrokers: stack.kafkaBrokers, crm, processes }, closers);
    const { kafkaBrokers, databaseUrl } = stack;
    return { kafkaBrokers, databaseUrl, provider, simulator, urls, apps, restart: start, stop, broken: brokenBy({ nx, simulator }) };
  } catch (error) {
    await stop();
    throw error;
  }
}

async function startOwnStack(
  dataDir: string,
  { fresh = false, isolated = false, durable = true, log = () => undefined }: LockstepOptions,
  closers: (() => Promise<void>)[],
): Promise<{ stack: Stack; provider: Stack['provider'] }> {
  const { KAFKA_BROKERS: _brokers, DATABASE_URL: _url, ...elsewhere } = process.env;
  const stack = await startStack({ dataDir, fresh, durable, log, env: isolated ? elsewhere : process.env });
  closers.push(() => stack.stop());
  return { stack, provider: stack.provider };
}

/** Tells the command line what runs, for as long as it runs. It holds the database's password, so only its owner may read it. */
async function writeRunFile(file: string, run: object, closers: (() => Promise<void>)[]): Promise<void> {
  await mkdir(dirname(file), { recursive: true });
  await writeFile(file, `${JSON.stringify(run, null, 2)}\n`, { mode: 0o600 });
  closers.push(() => rm(file, { force: true }));
}

const urlOf = (port: number): string => `http://127.0.0.1:${port}`;

const crmEnvironment = (url: string, apiVersion: string): NodeJS.ProcessEnv => ({
  CRM_API_URL: url,
  CRM_ACCOUNTS_URL: url,
  CRM_CLIENT_ID: 'simulator',
  CRM_CLIENT_SECRET: 'simulator',
  CRM_REFRESH_TOKEN: 'simulator',
  CRM_API_VERSION: apiVersion,
});

/** Where the simulator does not limit downloads, the apps need not either. */
const paceOf = (args: readonly string[]): NodeJS.ProcessEnv => (args[args.indexOf('--downloads-per-minute') + 1] === '0' ? { CRM_DOWNLOADS_PER_MINUTE: '0' } : {});

async function brokenBy(children: Readonly<Record<string, Child | undefined>>): Promise<string> {
  const running = Object.entries(children).filter((entry): entry is [string, Child] => entry[1] !== undefined);
  if (running.length === 0) return await new Promise<never>(() => undefined);
  return await Promise.race(running.map(async ([name, child]) => `${name} ended with ${await child.ended}`));
}
