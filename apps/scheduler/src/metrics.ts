import { Counter, createMetrics, Gauge, Histogram, type Registry } from '@lockstep/telemetry';

/** What the scheduler counts. */
export type SchedulerMetrics = ReturnType<typeof createSchedulerMetrics>;

/** One set a process, or a test. */
export function createSchedulerMetrics() {
  const registry: Registry = createMetrics({ app: 'scheduler' });
  const registers = [registry];
  return {
    registry,
    isLeader: new Gauge({ name: 'lockstep_scheduler_is_leader', help: '1 while this process leads', registers }),
    channelExpiry: new Gauge({ name: 'lockstep_scheduler_channel_expires_seconds', help: 'When the channel of a module ends, Unix time', labelNames: ['module'], registers }),
    renewals: new Counter({ name: 'lockstep_scheduler_channel_renewals_total', help: 'Channels enabled or extended', labelNames: ['module'], registers }),
    bulkJobs: new Counter({ name: 'lockstep_scheduler_bulk_jobs_total', help: 'Bulk read jobs asked for; each costs 50 credits', labelNames: ['module'], registers }),
    failures: new Counter({ name: 'lockstep_scheduler_failures_total', help: 'Rounds that failed', labelNames: ['module'], registers }),
    calls: new Histogram({ name: 'lockstep_scheduler_crm_call_seconds', help: 'Calls to the CRM', labelNames: ['call', 'status'], buckets: [0.01, 0.05, 0.1, 0.5, 1, 5, 30], registers }),
  };
}
