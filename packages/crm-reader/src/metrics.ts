import { Counter, Gauge, type Registry } from '@lockstep/telemetry';

/** What the reader counts. */
export type ReaderMetrics = ReturnType<typeof createReaderMetrics>;

/** One set a process, or a test. */
export function createReaderMetrics(registry: Registry) {
  const registers = [registry];
  return {
    looks: new Counter({ name: 'lockstep_ingress_looks_total', help: 'Looks at the CRM', labelNames: ['module'], registers }),
    looked: new Counter({ name: 'lockstep_ingress_looked_records_total', help: 'Records that were looked at, by what was found', labelNames: ['module', 'found'], registers }),
    looksAside: new Counter({ name: 'lockstep_ingress_looks_aside_total', help: 'Looks at single records that failed, so that the record is kept aside', labelNames: ['module'], registers }),
    hintsDropped: new Counter({ name: 'lockstep_ingress_hints_dropped_total', help: 'Hints that were left to the next catch-up, as credits are scarce', labelNames: ['module'], registers }),
    deletions: new Counter({ name: 'lockstep_ingress_deletions_total', help: 'Deletions that the deleted list gave', labelNames: ['module'], registers }),
    pending: new Gauge({ name: 'lockstep_ingress_pending_hints', help: 'Hints that wait for their look', registers }),
    bulkRows: new Counter({ name: 'lockstep_ingress_bulk_rows_total', help: 'Rows of bulk results that were published', labelNames: ['module'], registers }),
    fieldsKnown: new Gauge({ name: 'lockstep_ingress_fields_known', help: 'Whether the fields metadata of a module could be read (1), or its multi-select values are not cut (0)', labelNames: ['module'], registers }),
    fieldsMissing: new Gauge({ name: 'lockstep_ingress_fields_missing', help: 'Mapped fields that the CRM refuses to read; they are left out', labelNames: ['module'], registers }),
    unexplained: new Counter({ name: 'lockstep_ingress_unexplained_cells_total', help: 'Multi-select cells of bulk results that the picklist does not explain; they are kept as they stand', labelNames: ['module', 'field'], registers }),
    longTexts: new Counter({ name: 'lockstep_ingress_long_texts_total', help: 'Texts that a query may have cut, by whether they could be read whole', labelNames: ['module', 'read'], registers }),
    deadLetters: new Counter({ name: 'lockstep_ingress_dead_letters_total', help: 'What could not be read', labelNames: ['source'], registers }),
  };
}
