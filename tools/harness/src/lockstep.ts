import { randomBytes } from 'node:crypto';
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';

import { applyLegacySchema, freePort, startStack, type Stack } from '@lockstep/local-stack';

import { type AppName, appNames, appOf, type AppProcess, type InstanceName, instancesOf, startApp } from './app-process.ts';
import { startBalancer } from './balancer.ts';
import type { Child } from './child.ts';
import { checkoutDir } from './paths.ts';
import { endLeftOver, knownProcess } from './left-over.ts';
import { type SimulatorProcess, startSimulatorProcess } from './simulator-process.ts';
import { startUnderNx } from './under-nx.ts';

/** A stack that another process runs; what is known of it. */
type GivenStack = Pick<Stack, 'kafkaBrokers' | 'databaseUrl'> & Partial<Pick<Stack, 'provider' | 'crashable'>>;

/** What to run, and with what. */
export type LockstepOptions = {
  /** A stack that runs already; else one is started, and stopped at the end. */
  readonly stack?: GivenStack;
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
  /** How many processes of each app run; one by default. In front of several receivers stands a balancer. */
  readonly instances?: Partial<Record<AppName, number>>;
  /** More environment for the apps. */
  readonly env?: NodeJS.ProcessEnv;
  readonly log?: (line: string) => void;
  /** A free one by default. */
  readonly ingressPort?: number;
  /** Ends the start: what had been started is stopped, and the promise rejects. */
  readonly signal?: AbortSignal;
  /** Called once the CRM simulator answers, before the apps are started. */
  readonly onSimulator?: (simulator: SimulatorProcess) => void;
  /** Awaited before the apps are started: what is to stand in the legacy database before the first load. */
  readonly beforeApps?: (running: { readonly databaseUrl: string; readonly simulator: SimulatorProcess | undefined }) => Promise<void>;
};

/** Everything, running. */
export type Lockstep = {
  readonly kafkaBrokers: readonly string[];
  readonly databaseUrl: string;
  readonly provider: Stack['provider'] | undefined;
  readonly simulator: SimulatorProcess | undefined;
  /** Of the first instance of each app. */
  readonly urls: Readonly<Record<AppName, string>>;
  /** The running apps by instance; empty under Nx, which runs them as its own children. */
  readonly apps: Readonly<Record<string, AppProcess>>;
  /** What of the stack may be crashed and started again. */
  readonly crashable: Stack['crashable'];
  /** Starts an app again, on its former port, after it ended; returns once it is ready. */
  restart(name: InstanceName, env?: NodeJS.ProcessEnv): Promise<AppProcess>;
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
    const stack: GivenStack = options.stack ?? (await startOwnStack(join(dataDir, 'stack'), options, closers));
    const { kafkaBrokers, databaseUrl, provider, crashable = {} } = stack;
    // A database that was given has its legacy schema already: it is the one to be kept in step.
    if (provider?.postgres !== 'environment') await applyLegacySchema(databaseUrl);

    options.signal?.throwIfAborted();
    const ports = new Map<InstanceName, number>();
    for (const name of instancesOf(options.instances ?? {})) ports.set(name, name === 'ingress' && options.ingressPort !== undefined ? options.ingressPort : await freePort());
    const urls = Object.fromEntries(appNames.map((name) => [name, urlOf(ports.get(name) ?? 0)])) as Record<AppName, string>;
    const simulator = options.simulator === null ? undefined : await startSimulatorProcess(options.simulator, { port: await freePort(), logDir, env: process.env });
    if (simulator !== undefined) {
      closers.push(() => simulator.stop());
      options.onSimulator?.(simulator);
    }
    await options.beforeApps?.({ databaseUrl, simulator });

    const crm = simulator === undefined ? {} : { ...crmEnvironment(simulator.url, options.apiVersion ?? 'v8'), ...paceOf(options.simulator ?? []) };
    const env: NodeJS.ProcessEnv = {
      ...process.env,
      ...crm,
      KAFKA_BROKERS: kafkaBrokers.join(','),
      DATABASE_URL: databaseUrl,
      LOCKSTEP_SECRET: process.env['LOCKSTEP_SECRET'] ?? randomBytes(24).toString('base64url'),
      LOCKSTEP_PUBLIC_URL: process.env['LOCKSTEP_PUBLIC_URL'] ?? (await receiversUrl(ports, closers)),
      LOCKSTEP_MODULES: (options.modules ?? ['Leads', 'Deals', 'Products']).join(','),
      // Brokers that were given are checked as in production.
      ...(provider?.kafka === 'environment' ? {} : { LOCKSTEP_LOCAL_STACK: '1' }),
      ...options.env,
    };
    const apps: Record<string, AppProcess> = {};
    const start = async (name: InstanceName, more: NodeJS.ProcessEnv = {}): Promise<AppProcess> => {
      // Each instance has a folder of its own, as it would have a machine.
      const app = startApp(name, { env: { ...env, LOCKSTEP_DATA_DIR: join(dataDir, 'data', name), ...options.env, ...more }, port: ports.get(name) ?? 0, logDir });
      apps[name] = app;
      await app.ready();
      return app;
    };
    let nx: Child | undefined;
    if (options.underNx === true) {
      nx = await startUnderNx({ env: { ...env, LOCKSTEP_DATA_DIR: join(dataDir, 'data') }, urls, logDir, signal: options.signal, log: options.log ?? (() => undefined) });
      const running = nx;
      closers.push(() => running.stop());
    } else {
      closers.push(async () => void (await Promise.all(Object.values(apps).map((app) => app.stop()))));
      await Promise.all([...ports.keys()].map((name) => start(name)));
    }
    const processes = [simulator, nx, ...Object.values(apps)].flatMap((child) => (child === undefined ? [] : (knownProcess(child.pid) ?? [])));
    await writeRunFile(runFile, { ...urls, simulator: simulator?.url, databaseUrl, kafkaBrokers, crm, processes }, closers);
    return { kafkaBrokers, databaseUrl, provider, simulator, urls, apps, crashable, restart: start, stop, broken: brokenBy({ nx, simulator }) };
  } catch (error) {
    await stop();
    throw error;
  }
}

async function startOwnStack(
  dataDir: string,
  { fresh = false, isolated = false, durable = true, log = () => undefined }: LockstepOptions,
  closers: (() => Promise<void>)[],
): Promise<Stack> {
  const { KAFKA_BROKERS: _brokers, DATABASE_URL: _url, ...elsewhere } = process.env;
  const stack = await startStack({ dataDir, fresh, durable, log, env: isolated ? elsewhere : process.env });
  closers.push(() => stack.stop());
  return stack;
}

/** Where the CRM is to send its notifications: the ingress, or what stands before several. */
async function receiversUrl(ports: ReadonlyMap<InstanceName, number>, closers: (() => Promise<void>)[]): Promise<string> {
  const receivers = [...ports].filter(([name]) => appOf(name) === 'ingress').map(([, port]) => port);
  if (receivers.length === 1) return urlOf(receivers[0] as number);
  const balancer = await startBalancer(receivers);
  closers.push(() => balancer.close());
  return balancer.url;
}

/** Records for the command line what runs, for as long as it runs. It holds the database's password, so only its owner may read it. */
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
