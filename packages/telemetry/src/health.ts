import type { FastifyInstance } from 'fastify';
import type { Registry } from 'prom-client';

/** Rejects, or takes longer than its time limit, when something is missing; the message says what. */
export type HealthCheck = () => Promise<void> | void;

export type HealthOptions = {
  readonly metrics: Registry;
  /** What must hold for work to be done, by name, e.g. `kafka`. */
  readonly readiness: Readonly<Record<string, HealthCheck>>;
  /** What must hold for a restart not to help, by name. */
  readonly liveness?: Readonly<Record<string, HealthCheck>>;
  readonly timeLimitMs?: number;
};

/**
 * Routes that report the state of a process: `/livez` (restart it unless 200), `/readyz` (give it work only at 200; else 503
 * and what is missing), `/metrics` (Prometheus text).
 */
export function healthRoutes(app: FastifyInstance, { metrics, readiness, liveness = {}, timeLimitMs = 2_000 }: HealthOptions): void {
  const answer = async (checks: Readonly<Record<string, HealthCheck>>): Promise<{ ok: boolean; checks: Record<string, string> }> => {
    const results = await Promise.all(Object.entries(checks).map(async ([name, check]) => [name, await outcome(check, timeLimitMs)] as const));
    return { ok: results.every(([, result]) => result === 'ok'), checks: Object.fromEntries(results) };
  };
  app.get('/livez', async (_, reply) => {
    const health = await answer(liveness);
    return reply.code(health.ok ? 200 : 503).send(health);
  });
  app.get('/readyz', async (_, reply) => {
    const health = await answer(readiness);
    return reply.code(health.ok ? 200 : 503).send(health);
  });
  app.get('/metrics', async (_, reply) => reply.type(metrics.contentType).send(await metrics.metrics()));
}

async function outcome(check: HealthCheck, timeLimitMs: number): Promise<string> {
  let timer: NodeJS.Timeout | undefined;
  const tooSlow = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no answer within ${timeLimitMs} ms`)), timeLimitMs);
  });
  try {
    await Promise.race([Promise.resolve().then(check), tooSlow]);
    return 'ok';
  } catch (error) {
    return error instanceof Error ? error.message || error.name : String(error);
  } finally {
    clearTimeout(timer);
  }
}
