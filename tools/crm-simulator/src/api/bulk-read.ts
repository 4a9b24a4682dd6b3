import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';

import type { FastifyInstance } from 'fastify';

import { currentUser } from '../catalogue/pools.ts';
import { ApiError, tooManyRequests } from '../errors.ts';
import { bulkQuery, callbackUrl, checkFileType, pageStart } from './bulk-request.ts';
import { isObject, jsonBody } from './json-body.ts';
import type { Version, World } from './world.ts';

const MINUTE_MS = 60_000;
const notFound = (resource: string) => new ApiError(404, 'RESOURCE_NOT_FOUND', 'The requested resource could not be found', { resource });

/** The bulk read API: `/crm/bulk/v{n}/read`. */
export function bulkReadRoutes(app: FastifyInstance, world: World, version: Version, downloads: DownloadLimit): void {
  app.post('/read', async (request, reply) => {
    const body = jsonBody(request);
    const { query } = body;
    if (!isObject(query)) throw new ApiError(400, 'INVALID_REQUEST', 'invalid request', { api_name: 'query' });
    const callback = callbackUrl(body);
    checkFileType(body);
    const { query: checked, start } = pageOf(world, query, version);
    const job = await world.jobs.add(version, checked, start, callback);
    return reply.code(201).send({
      data: [{
        status: 'success',
        code: 'ADDED_SUCCESSFULLY',
        message: 'Added successfully.',
        details: {
          id: job.id,
          operation: 'read',
          state: 'ADDED',
          created_by: { id: currentUser.id, name: currentUser.name },
          created_time: world.instant(job.createdMs),
        },
      }],
      info: {},
    });
  });

  app.get<{ Params: { job: string } }>('/read/:job', async (request) => {
    const job = world.jobs.get(request.params.job);
    if (job === undefined) throw notFound(request.params.job);
    return { data: [world.jobs.status(job)] };
  });

  app.get<{ Params: { job: string } }>('/read/:job/result', async (request, reply) => {
    const { job } = request.params;
    if (!downloads.take(world.clock.elapsedMs())) {
      world.counters.refused.downloads++;
      throw tooManyRequests();
    }
    const file = world.jobs.file(job);
    if (file === undefined) throw notFound(job);
    const part = world.faults.truncates() ? { end: Math.floor((await stat(file)).size / 2) } : {};
    return reply.type('application/zip').header('content-disposition', `attachment; filename="${job}.zip"`).send(createReadStream(file, part));
  });
}

function pageOf(world: World, query: Record<string, unknown>, version: Version) {
  const token = query.page_token;
  if (token === undefined) return { query: bulkQuery(query), start: pageStart(query, version, world.options.pageSize) };
  if (version === 6) throw new ApiError(400, 'NOT_SUPPORTED_FEATURE', 'page_token is not supported in this version', { api_name: 'page_token' });
  if (typeof token !== 'string') throw new ApiError(400, 'INVALID_DATA', 'invalid data', { api_name: 'page_token', expected_data_type: 'string' });
  if (Object.keys(query).length > 1) throw new ApiError(400, 'INVALID_REQUEST', 'page_token stands alone', { api_name: 'page_token' });
  return world.jobs.continuation(token);
}

/** Ten downloads a minute; one more, and all fail until the minute is over. */
export class DownloadLimit {
  readonly #perMinute: number;
  #minuteStartMs = -Infinity;
  #count = 0;

  constructor(perMinute: number) {
    this.#perMinute = perMinute;
  }

  /** @returns whether there was one left. */
  take(nowMs: number): boolean {
    if (nowMs >= this.#minuteStartMs + MINUTE_MS) {
      this.#minuteStartMs = nowMs;
      this.#count = 0;
    }
    return this.#perMinute === 0 || ++this.#count <= this.#perMinute;
  }
}
