import type { RefreshStart } from '@lockstep/crm-planner';
import { type Freshness, type Incident, schemaLost } from '@lockstep/postgres';
import { type HealthCheck, healthRoutes, type Registry } from '@lockstep/telemetry';
import fastify, { type FastifyInstance } from 'fastify';

import type { Status } from './status.ts';

export type AppDeps = {
  readonly metrics: Registry;
  readonly readiness: Readonly<Record<string, HealthCheck>>;
  readonly status: () => Promise<Status>;
  readonly freshness: () => Promise<readonly Freshness[]>;
  /** Newest first; without `all`, only those that are open. */
  readonly incidents: (options: { readonly all: boolean }) => Promise<readonly Incident[]>;
  /** Begins to read a whole module again, if that can be now. */
  readonly refresh: (module: string, options: { readonly isAnyway: boolean }) => Promise<RefreshStart>;
  /** Lets held deletions of a module pass; false when none are held. */
  readonly releaseDeletions: (module: string) => Promise<boolean>;
};

/** Status, freshness, health and metrics, without a port: `GET /status`, `GET /freshness`, `GET /incidents`, `POST /modules/<module>/refresh[?anyway=true]`, `POST /held-deletions/<module>/release`. */
export function buildApp({ metrics, readiness, status, freshness, incidents, refresh, releaseDeletions }: AppDeps): FastifyInstance {
  const app = fastify({ forceCloseConnections: true });
  healthRoutes(app, { metrics, readiness });
  app.setErrorHandler((error, _, reply) => {
    const lost = schemaLost(error);
    // Other errors are answered as before.
    if (lost === null) throw error;
    return reply.code(503).send({ code: lost.code, problem: lost.message });
  });
  app.get('/status', async () => await status());
  app.get('/freshness', async () => await freshness());
  app.get<{ Querystring: { all?: string } }>('/incidents', async ({ query }) => await incidents({ all: query.all === 'true' }));
  app.post<{ Params: { module: string }; Querystring: { anyway?: string } }>('/modules/:module/refresh', async ({ params, query }, reply) => {
    const begun = await refresh(params.module, { isAnyway: query.anyway === 'true' });
    return reply.code(begun.status === 'started' ? 200 : 409).send(begun);
  });
  app.post<{ Params: { module: string } }>('/held-deletions/:module/release', async ({ params }, reply) => {
    if (await releaseDeletions(params.module)) return { status: 'released' };
    return reply.code(404).send({ status: 'refused', problem: `no deletions of ${params.module} are held` });
  });
  return app;
}
