import Fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify';

import { adminRoutes } from './admin.ts';
import { bulkReadRoutes, DownloadLimit } from './api/bulk-read.ts';
import { deletedRoutes } from './api/deleted.ts';
import { metadataRoutes } from './api/metadata.ts';
import { oauthRoutes } from './api/oauth.ts';
import { peopleRoutes } from './api/people.ts';
import { recordWriteRoutes } from './api/record-writes.ts';
import { recordRoutes } from './api/records.ts';
import { watchRoutes } from './api/watch.ts';
import { versions, type World } from './api/world.ts';
import { coqlRoutes } from './coql/coql.ts';
import type { Counters } from './counters.ts';
import { AdminError, ApiError, tooManyRequests } from './errors.ts';
import type { SimulatorCore } from './simulator-core.ts';

const MAX_BODY_BYTES = 16 * 1024 * 1024;

/** The HTTP surface of the simulator: the vendor's paths of each version, the token endpoint, and the admin surface. */
export function buildServer(core: SimulatorCore, baseUrl: () => string): FastifyInstance {
  const app = Fastify({ bodyLimit: MAX_BODY_BYTES, forceCloseConnections: true, routerOptions: { maxParamLength: 500 } });
  app.removeAllContentTypeParsers();
  app.addContentTypeParser('*', { parseAs: 'string' }, (_request, body, done) => done(null, body));
  answers(app, core);
  oauthRoutes(app, core.tokens, baseUrl);
  const { options, clock, organisation, channels, jobs, instant } = core;
  const world: World = { options, clock, organisation, channels, jobs, instant, baseUrl, counters: core.calls, faults: core.faults, standing: core.standing };
  const downloads = new DownloadLimit(options.downloadsPerMinute);
  for (const version of versions) {
    app.register(async (api) => {
      guard(api, core);
      watchRoutes(api, world, version);
      coqlRoutes(api, world, version);
      metadataRoutes(api);
      peopleRoutes(api, world);
      deletedRoutes(api, world);
      recordRoutes(api, world, version);
      recordWriteRoutes(api, world);
    }, { prefix: `/crm/v${version}` });
    app.register(async (api) => {
      guard(api, core);
      bulkReadRoutes(api, world, version, downloads);
    }, { prefix: `/crm/bulk/v${version}` });
  }
  app.register(async (admin) => adminRoutes(admin, core), { prefix: '/__simulator' });
  return app;
}

/** Forms of refusal, and the `Date` of the simulator's clock on every reply. */
function answers(app: FastifyInstance, core: SimulatorCore): void {
  app.addHook('onSend', async (request, reply, payload) => {
    const skewMs = request.url.startsWith('/crm/') ? core.faults.skewMs() : 0;
    reply.header('date', new Date(core.clock.nowMs() + skewMs).toUTCString());
    if (request.url.startsWith('/crm/') && core.calls.isHalfUsed) reply.header('x-api-credits-remaining', String(core.calls.remaining));
    return payload;
  });
  app.setNotFoundHandler(async (_request, reply) =>
    reply.code(404).send(new ApiError(404, 'INVALID_URL_PATTERN', 'Please check if the URL trying to access is a correct one').body()));
  app.setErrorHandler(async (error, _request, reply) => {
    if (error instanceof ApiError) return reply.code(error.status).send(error.body());
    if (error instanceof AdminError) return reply.code(error.status).send({ code: error.code, message: error.message });
    const internal = new ApiError(500, 'INTERNAL_ERROR', 'Internal Server Error', { cause: error instanceof Error ? error.message : String(error) });
    return reply.code(500).send(internal.body());
  });
}

/** What each call of the vendor's API passes: the calls in flight, the token, the credits. What may go wrong with it is decided in between. */
function guard(api: FastifyInstance, core: SimulatorCore): void {
  const { calls } = core;
  const refuse = (limit: keyof Counters['refused']): never => {
    calls.refused[limit]++;
    throw tooManyRequests();
  };
  api.addHook('onRequest', async (request, reply) => {
    const { kind, credits } = cost(request);
    // However a call ends, answered, cut or given up by the client, its connection lets go of it.
    reply.raw.once('close', calls.started(kind === 'coql'));
    const crowded = calls.passed(core.options);
    if (crowded !== null) return refuse(crowded);
    if (await isMishap(core, request, reply)) return reply;
    core.tokens.check(request.headers.authorization);
    if (core.options.uncovered.some((end) => request.routeOptions.url?.endsWith(end))) throw new ApiError(401, 'OAUTH_SCOPE_MISMATCH', 'invalid oauth scope to access this URL');
    if (kind !== 'coql') calls.add(kind, credits);
    return calls.remaining < 0 ? refuse('credits') : undefined;
  });
  // Only here the body is known.
  api.addHook('preHandler', async ({ method, url, body }) => core.standing.check(method, url, body));
  api.addHook('onResponse', async (_request, reply) => calls.answered(reply.statusCode));
}

/** Lets a call go wrong, if it is its turn. @returns true when it has been answered, or never will be. */
async function isMishap({ faults, clock, calls }: SimulatorCore, request: FastifyRequest, reply: FastifyReply): Promise<boolean> {
  const delayMs = faults.delayMs();
  if (delayMs > 0) await clock.sleep(delayMs);
  switch (faults.mishap()) {
    case 'serverError':
      throw new ApiError(500, 'INTERNAL_ERROR', 'Internal Server Error');
    case 'tooMany':
      throw tooManyRequests();
    case 'htmlError':
      reply.code(502).type('text/html').send('<html><body><h1>502 Bad Gateway</h1></body></html>');
      return true;
    case 'cut':
      reply.hijack();
      calls.answered(0);
      request.raw.socket.destroy();
      return true;
    case null:
      return false;
  }
}

/** What a call is counted as. COQL counts itself: its price depends on the limit. */
function cost(request: FastifyRequest): { kind: string; credits: number } {
  const route = (request.routeOptions.url ?? '').replace(/^\/crm\/(bulk\/)?v\d/, '$1');
  const [isGet, kind] = [request.method === 'GET', `${request.method} ${route}`];
  if (route === '/coql') return { kind: 'coql', credits: 1 };
  if (kind === 'POST bulk//read') return { kind: 'bulk create', credits: 50 };
  if (route.endsWith('/result')) return { kind: 'bulk download', credits: 1 };
  if (route.startsWith('bulk/')) return { kind: 'bulk status', credits: 1 };
  if (route.endsWith('/watch')) return { kind: `watch ${request.method.toLowerCase()}`, credits: 1 };
  if (route.endsWith('/deleted')) return { kind: 'deleted', credits: 2 };
  if (route.endsWith('/count')) return { kind: 'count', credits: 1 };
  if (route.startsWith('/:module')) return { kind: isGet ? 'records read' : 'records write', credits: 1 };
  return { kind: 'metadata', credits: 1 };
}
