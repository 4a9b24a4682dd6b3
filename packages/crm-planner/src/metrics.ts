import { Counter, Gauge, type Registry } from '@lockstep/telemetry';

/** What the planner counts. */
export type PlannerMetrics = ReturnType<typeof createPlannerMetrics>;

/** One set a process, or a test. */
export function createPlannerMetrics(registry: Registry) {
  const registers = [registry];
  return {
    channelExpiry: new Gauge({ name: 'lockstep_scheduler_channel_expires_seconds', help: 'When the channel of a module ends, Unix time', labelNames: ['module'], registers }),
    renewals: new Counter({ name: 'lockstep_scheduler_channel_renewals_total', help: 'Channels enabled or extended', labelNames: ['module'], registers }),
    incidents: new Counter({ name: 'lockstep_scheduler_incidents_total', help: 'Incidents opened', labelNames: ['module', 'kind'], registers }),
    clockAhead: new Gauge({ name: 'lockstep_scheduler_clock_ahead_seconds', help: 'How far a source of time is ahead of the CRM time that a process believes', labelNames: ['role', 'source'], registers }),
    bulkJobs: new Counter({ name: 'lockstep_scheduler_bulk_jobs_total', help: 'Bulk read jobs requested; each costs 50 credits', labelNames: ['module'], registers }),
  };
}
