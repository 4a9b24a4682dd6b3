import { isPathSecret } from '@lockstep/notifications';
import type { FastifyInstance } from 'fastify';

/**
 * `POST /bulk-callbacks/<secret>`: the CRM says that a bulk job has ended. The call carries neither token nor signature, so
 * nothing in it is believed: it means "ask the CRM now".
 */
export function bulkCallbackRoutes(app: FastifyInstance, { secret, poll }: { secret: string; poll: () => Promise<void> }): void {
  app.post<{ Params: { secret: string } }>('/bulk-callbacks/:secret', async ({ params }, reply) => {
    if (!isPathSecret(secret, params.secret)) return reply.code(401).send({ status: 'refused', problem: 'not a path of this installation' });
    await poll();
    return reply.code(200).send({ status: 'noted' });
  });
}
