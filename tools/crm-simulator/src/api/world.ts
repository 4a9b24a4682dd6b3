import type { FastifyReply, FastifyRequest } from 'fastify';

import type { ModuleStore } from '../store/module-store.ts';
import type { Clock } from '../clock.ts';
import type { Counters } from '../counters.ts';
import type { FaultyApi } from '../faults.ts';
import { invalidModule } from '../errors.ts';
import type { SimulatorOptions } from '../options.ts';
import type { StandingFaults } from '../standing-faults.ts';
import type { Organisation } from '../store/organisation.ts';
import type { BulkJobs } from './bulk-jobs.ts';
import type { Channels } from './channels.ts';

/** The API versions that are served side by side. */
export type Version = 6 | 7 | 8;
export const versions: readonly Version[] = [6, 7, 8];

/** What the routes work on. */
export type World = {
  readonly options: SimulatorOptions;
  readonly clock: Clock;
  readonly organisation: Organisation;
  readonly channels: Channels;
  readonly jobs: BulkJobs;
  readonly counters: Counters;
  readonly faults: FaultyApi;
  readonly standing: StandingFaults;
  /** Writes an instant in the calling user's zone. */
  readonly instant: (ms: number) => string;
  readonly baseUrl: () => string;
};

/** @throws {ApiError} `INVALID_MODULE` */
export function storeOf(world: World, moduleName: string): ModuleStore {
  const store = world.organisation.find(moduleName);
  if (store === undefined) throw invalidModule();
  return store;
}

/** Query parameters as texts; of a repeated one the first. */
export function paramsOf(request: FastifyRequest): Readonly<Record<string, string>> {
  const query = request.query as Record<string, string | string[]>;
  return Object.fromEntries(Object.entries(query).map(([name, value]) => [name, Array.isArray(value) ? String(value[0]) : value]));
}

/** A reply without a body. */
export const nothing = (reply: FastifyReply, status: 204 | 304): FastifyReply => reply.code(status).send();
