import type { ClockReport } from '@lockstep/crm-client';
import { createReaderMetrics } from '@lockstep/crm-reader';
import { Counter, createMetrics, Gauge, Histogram, type Registry } from '@lockstep/telemetry';

/** What the ingress counts. */
export type IngressMetrics = ReturnType<typeof createIngressMetrics>;

/** One set a process, or a test. */
export function createIngressMetrics() {
  const registry: Registry = createMetrics({ app: 'ingress' });
  const registers = [registry];
  return {
    registry,
    ...createReaderMetrics(registry),
    notifications: new Counter({ name: 'lockstep_ingress_notifications_total', help: 'Notifications, by the status they were answered with', labelNames: ['status'], registers }),
    hints: new Counter({ name: 'lockstep_ingress_hints_total', help: 'Hints that were stored', labelNames: ['module', 'operation'], registers }),
    impossibleIds: new Counter({ name: 'lockstep_ingress_impossible_ids_total', help: 'Ids of notifications that can be no record\'s and were left out', labelNames: ['module'], registers }),
    acknowledge: new Histogram({ name: 'lockstep_ingress_acknowledge_seconds', help: 'From a notification to its answer', buckets: [0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 2, 5], registers }),
    calls: new Histogram({ name: 'lockstep_ingress_crm_call_seconds', help: 'Calls to the CRM', labelNames: ['call', 'status'], buckets: [0.01, 0.05, 0.1, 0.5, 1, 5, 30], registers }),
    clockAhead: new Gauge({ name: 'lockstep_ingress_clock_ahead_seconds', help: 'How far a source of time is ahead of the CRM time that is believed', labelNames: ['source'], registers }),
    datesRefused: new Gauge({ name: 'lockstep_ingress_dates_refused', help: 'Replies of the CRM whose Date was refused since the start', registers }),
    isReader: new Gauge({ name: 'lockstep_ingress_is_reader', help: '1 while this process holds the lease of the reader', registers }),
  };
}

/** Sets what the clocks say of each other. */
export function setClockMetrics({ clockAhead, datesRefused }: Pick<IngressMetrics, 'clockAhead' | 'datesRefused'>, { dateAheadMs, wallAheadMs, refused }: ClockReport): void {
  if (dateAheadMs !== null) clockAhead.set({ source: 'date' }, dateAheadMs / 1000);
  clockAhead.set({ source: 'wall' }, wallAheadMs / 1000);
  datesRefused.set(refused);
}
