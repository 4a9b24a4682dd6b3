import { createAlertCounter } from '@lockstep/alerts';
import { createPlannerMetrics } from '@lockstep/crm-planner';
import { Counter, createMetrics, Gauge, Histogram, type Registry } from '@lockstep/telemetry';

/** What the scheduler counts. */
export type SchedulerMetrics = ReturnType<typeof createSchedulerMetrics>;

/** One set a process, or a test. */
export function createSchedulerMetrics() {
  const registry: Registry = createMetrics({ app: 'scheduler' });
  const registers = [registry];
  return {
    registry,
    ...createPlannerMetrics(registry),
    alerts: createAlertCounter(registry),
    isLeader: new Gauge({ name: 'lockstep_scheduler_is_leader', help: '1 while this process leads', registers }),
    failures: new Counter({ name: 'lockstep_scheduler_failures_total', help: 'Rounds that failed', labelNames: ['module'], registers }),
    calls: new Histogram({ name: 'lockstep_scheduler_crm_call_seconds', help: 'Calls to the CRM', labelNames: ['call', 'status'], buckets: [0.01, 0.05, 0.1, 0.5, 1, 5, 30], registers }),
  };
}
