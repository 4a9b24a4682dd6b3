import { Counter, createMetrics, Gauge, Histogram, type Registry } from '@lockstep/telemetry';

/** What the projector counts. */
export type ProjectorMetrics = ReturnType<typeof createProjectorMetrics>;

/** One set a process, or a test. */
export function createProjectorMetrics() {
  const registry: Registry = createMetrics({ app: 'projector' });
  const registers = [registry];
  return {
    registry,
    observations: new Counter({ name: 'lockstep_projector_observations_total', help: 'Observations, by what became of them', labelNames: ['module', 'outcome'], registers }),
    outdatedRows: new Counter({ name: 'lockstep_projector_outdated_bulk_rows_total', help: 'Rows of bulk files that were refused because a later look stood already', labelNames: ['module'], registers }),
    batches: new Histogram({ name: 'lockstep_projector_batch_seconds', help: 'A batch, from its first statement to its commit', labelNames: ['module'], buckets: [0.002, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5], registers }),
    queuedBytes: new Gauge({ name: 'lockstep_projector_queued_bytes', help: 'Bytes of messages that wait', registers }),
    position: new Gauge({ name: 'lockstep_projector_next_offset', help: 'Next offset to be applied', labelNames: ['topic', 'partition'], registers }),
    pausedModules: new Gauge({ name: 'lockstep_projector_paused_modules', help: 'Modules that a person has paused', registers }),
    halted: new Gauge({ name: 'lockstep_projector_halted_partitions', help: 'Partitions that wait for a person', registers }),
  };
}
