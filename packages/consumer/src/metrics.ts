import { Counter, createMetrics, Gauge, Histogram, type Registry } from '@lockstep/telemetry';

/** What a consumer counts. */
export type ConsumerMetrics = ReturnType<typeof createConsumerMetrics>;

/** One set a process, or a test. @param app name of the consumer. */
export function createConsumerMetrics(app: string) {
  const registry: Registry = createMetrics({ app });
  const registers = [registry];
  return {
    registry,
    changes: new Counter({ name: 'lockstep_consumer_changes_total', help: 'Changes of records that were handed over', labelNames: ['module', 'kind'], registers }),
    parked: new Counter({ name: 'lockstep_consumer_parked_total', help: 'Messages that cannot be read, and were set aside', labelNames: ['module'], registers }),
    batches: new Histogram({ name: 'lockstep_consumer_batch_seconds', help: 'A batch, from its first statement to its commit', labelNames: ['module'], buckets: [0.002, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5], registers }),
    position: new Gauge({ name: 'lockstep_consumer_next_offset', help: 'Next offset to be applied', labelNames: ['topic', 'partition'], registers }),
    halted: new Gauge({ name: 'lockstep_consumer_halted_partitions', help: 'Partitions that do not go on', registers }),
    deliveries: new Counter({ name: 'lockstep_consumer_deliveries_total', help: 'Attempts to deliver, by outcome', labelNames: ['outcome'], registers }),
    waiting: new Gauge({ name: 'lockstep_consumer_deliveries_waiting', help: 'Deliveries that wait', registers }),
    failing: new Gauge({ name: 'lockstep_consumer_deliveries_failing', help: 'Deliveries that wait and have failed again and again', registers }),
  };
}
