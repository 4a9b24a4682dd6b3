import type { LeftOut } from '@lockstep/postgres';
import { createLogger, createMetrics } from '@lockstep/telemetry';
import { expect, test } from 'vitest';

import { reportUnreadHints } from './left-out-watch.ts';
import { createPlannerMetrics } from './metrics.ts';
import { Reporter } from './reporter.ts';

test('hints that cannot be read are an incident of no module, with place and remedy, which closes once they can', async () => {
  const open = new Map<string, string>();
  const incidents = { open: async (module: string, kind: string, details: string) => Boolean(open.set(`${module}/${kind}`, details)), close: async (module: string, kind: string) => open.delete(`${module}/${kind}`) };
  const reporter = new Reporter({ incidents, log: createLogger({ app: 'test', level: 'silent', isPretty: false }), metrics: createPlannerMetrics(createMetrics({ app: 'test' })) });
  let unread: LeftOut | null = { count: 1, since: new Date('2026-03-02T10:00:00Z'), cause: 'crm.notifications/3: end it by kafka-transactions.sh' };
  await reportUnreadHints({ unreadHints: async () => unread, reporter });
  expect([...open]).toEqual([['/hints-unread', 'hints of 1 partition are not answered since 2026-03-02T10:00:00.000Z; catch-ups find what they announced. Most often: crm.notifications/3: end it by kafka-transactions.sh']]);
  unread = null;
  await reportUnreadHints({ unreadHints: async () => unread, reporter });
  expect(open.size).toBe(0);
});
