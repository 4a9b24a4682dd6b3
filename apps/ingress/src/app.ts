import { type HealthCheck, healthRoutes, type Logger } from '@lockstep/telemetry';
import type { ModuleDefinition } from '@lockstep/modules';
import fastify, { type FastifyInstance } from 'fastify';

import type { HintPublisher } from './hint-publisher.ts';
import type { IngressMetrics } from './metrics.ts';
import { bulkCallbackRoutes } from './routes/bulk-callbacks.ts';
import { notificationRoutes } from './routes/notifications.ts';

export type AppDeps = {
  readonly secret: string;
  readonly modules: readonly ModuleDefinition[];
  readonly publisher: HintPublisher;
  /** Called when the CRM says that a bulk job has ended. */
  readonly poll: () => Promise<void>;
  readonly metrics: IngressMetrics;
  readonly log: Logger;
  readonly readiness: Readonly<Record<string, HealthCheck>>;
  readonly maxBodyBytes: number;
  readonly now?: () => number;
};

/** The receiver, without a port. */
export function buildApp({ metrics, readiness, maxBodyBytes, poll, now = Date.now, ...deps }: AppDeps): FastifyInstance {
  const app = fastify({ bodyLimit: maxBodyBytes, forceCloseConnections: true, requestTimeout: 10_000 });
  // Whatever the header says, a body is read as text and parsed as JSON: the CRM names its content type nowhere.
  app.removeAllContentTypeParsers();
  app.addContentTypeParser('*', { parseAs: 'string' }, (_request, body, done) => done(null, body));
  app.setErrorHandler(async (error: { statusCode?: number; message: string }, request, reply) => {
    const status = error.statusCode ?? 500;
    if (request.url.startsWith('/notifications/')) metrics.notifications.inc({ status });
    if (status >= 500) deps.log.error({ err: error }, 'a request failed');
    return reply.code(status).send({ status: 'refused', problem: status >= 500 ? 'internal error' : error.message });
  });
  notificationRoutes(app, { ...deps, metrics, now });
  bulkCallbackRoutes(app, { secret: deps.secret, poll });
  healthRoutes(app, { metrics: metrics.registry, readiness });
  return app;
}
