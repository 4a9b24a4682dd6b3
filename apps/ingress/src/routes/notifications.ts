import { KafkaError } from '@lockstep/kafka';
import type { ModuleDefinition } from '@lockstep/modules';
import { hintsOf, isChannelToken, isPathSecret, type Notification, NotificationError, parseNotification } from '@lockstep/notifications';
import { crashPoint, type Logger } from '@lockstep/telemetry';
import type { FastifyInstance } from 'fastify';

import { OverloadedError } from '../errors.ts';
import type { HintPublisher } from '../hint-publisher.ts';
import type { IngressMetrics } from '../metrics.ts';

export type NotificationsDeps = {
  readonly secret: string;
  readonly modules: readonly ModuleDefinition[];
  readonly publisher: HintPublisher;
  readonly metrics: IngressMetrics;
  readonly log: Logger;
  readonly now: () => number;
};

type Answer = { readonly status: 200 | 400 | 401 | 503; readonly body: { readonly status: string; readonly problem?: string } };

/**
 * `POST /notifications/<secret>`: 200 once Kafka has every hint, 401 for a wrong path or token, 400 for what is no
 * notification, 413 for what is too large, 503 while Kafka is away. Nothing is stored but at 200.
 */
export function notificationRoutes(app: FastifyInstance, deps: NotificationsDeps): void {
  const { metrics } = deps;
  app.post<{ Params: { secret: string }; Body: string }>('/notifications/:secret', async ({ params, body }, reply) => {
    const end = metrics.acknowledge.startTimer();
    const answer = await answerTo(params.secret, body, deps);
    metrics.notifications.inc({ status: answer.status });
    end();
    if (answer.status === 503) reply.header('retry-after', '5');
    return reply.code(answer.status).send(answer.body);
  });
}

async function answerTo(pathSecret: string, body: string, deps: NotificationsDeps): Promise<Answer> {
  if (!isPathSecret(deps.secret, pathSecret)) return refused(401, 'not a path of this installation');
  try {
    const notification = parseNotification(body ?? '');
    if (!isChannelToken(deps.secret, notification.channelId, notification.token)) return refused(401, 'the token is not the channel\'s');
    return await store(notification, deps);
  } catch (error) {
    if (error instanceof NotificationError) return refused(400, error.message);
    if (error instanceof KafkaError || error instanceof OverloadedError) {
      deps.log.warn({ err: error }, 'a notification could not be stored and was answered with 503');
      return refused(503, 'the log is away; send it again');
    }
    throw error;
  }
}

async function store(notification: Notification, { modules, publisher, metrics, log, now }: NotificationsDeps): Promise<Answer> {
  // A channel may still notify of a module that is no longer configured: accepted, and nothing to be done.
  if (!modules.some(({ apiName }) => apiName === notification.module)) return { status: 200, body: { status: 'ignored' } };
  const { module, impossibleIds } = notification;
  if (impossibleIds > 0) {
    metrics.impossibleIds.inc({ module }, impossibleIds);
    log.warn({ module, impossibleIds, ids: notification.ids.length }, 'ids of a notification can be no record\'s and are left out');
    if (notification.ids.length === 0) return refused(400, 'ids: none of them can be a record\'s, a whole number from 1 to 2^63 - 1');
  }
  const hints = hintsOf(notification, now());
  await publisher.publish(hints);
  crashPoint('hint-stored');
  metrics.hints.inc({ module: notification.module, operation: notification.operation }, hints.length);
  return { status: 200, body: { status: 'stored' } };
}

const refused = (status: 400 | 401 | 503, problem: string): Answer => ({ status, body: { status: 'refused', problem } });
