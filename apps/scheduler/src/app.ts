import { type HealthCheck, healthRoutes, type Registry } from '@lockstep/telemetry';
import fastify, { type FastifyInstance } from 'fastify';

import type { Status } from './status.ts';

export type AppDeps = {
  readonly metrics: Registry;
  readonly readiness: Readonly<Record<string, HealthCheck>>;
  readonly status: () => Promise<Status>;
};

/** Status, health and metrics, without a port. `GET /status` answers with {@link Status}. */
export function buildApp({ metrics, readiness, status }: AppDeps): FastifyInstance {
  const app = fastify({ forceCloseConnections: true });
  healthRoutes(app, { metrics, readiness });
  app.get('/status', async () => await status());
  return app;
}
