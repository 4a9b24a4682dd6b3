import { compareVersions, type CoverageDeclared, decodeEvent, EventFormatError, readRepairedHead, readSeenHead, type SeenHead, versionTime } from '@lockstep/record-log';

/** A message of a record topic, as far as the fold needs it. */
export type LogMessage = {
  readonly partition: number;
  readonly offset: number;
  readonly value: Buffer | null;
  /** Whether it came out of a bulk file; such rows are counted apart when they are refused. */
  readonly isBulk?: boolean;
};

/**
 * What a batch says of one record: the register of its messages, with the winning content still as bytes. `hash` is `''`
 * while nothing was seen, `deletedMs` is -1 while nothing was deleted.
 */
export type FoldedRecord = {
  readonly id: string;
  modifiedMs: number;
  /** The time it competes with: `modifiedMs`, but for a repair. */
  versionMs: number;
  observedMs: number;
  hash: string;
  coverage: string;
  /** The winner's message; its fields begin at `fieldsAt`. */
  value: Buffer;
  fieldsAt: number;
  /** Upper bound of the latest deletion. */
  deletedMs: number;
  partition: number;
  offset: number;
  isBulk: boolean;
};

/** A look that confirmed what the register held. It carries no content, so it applies only where the content is the same. */
export type Confirmation = { readonly id: string; readonly modifiedMs: number; readonly versionMs: number; readonly observedMs: number; readonly hash: string };

/** A message that no build will ever be able to apply. */
export type Reject = { readonly message: LogMessage; readonly code: string; readonly cause: string };

/** A batch, folded: one entry per record, whatever the order and however often its messages came. */
export type FoldedBatch = {
  readonly records: Map<string, FoldedRecord>;
  readonly confirmations: Confirmation[];
  readonly coverages: CoverageDeclared[];
  readonly rejects: Reject[];
  /** Observations that lost within the batch itself. */
  readonly refused: number;
  /** How many of those came out of a bulk file. */
  readonly refusedBulk: number;
};

/**
 * Folds a batch by heads alone; the fields of losers are never looked at.
 * @throws {EventFormatError} `EVENT_VERSION_UNKNOWN`: the partition must stop, a newer build wrote this.
 */
export function foldBatch(messages: readonly LogMessage[]): FoldedBatch {
  const records = new Map<string, FoldedRecord>();
  const batch = { records, confirmations: [] as Confirmation[], coverages: [] as CoverageDeclared[], rejects: [] as Reject[], refused: 0, refusedBulk: 0 };
  for (const message of messages) {
    const head = message.value === null ? null : (readSeenHead(message.value) ?? readRepairedHead(message.value));
    if (head === null) foldOther(batch, message);
    else foldSeen(batch, head, message);
  }
  return batch;
}

function foldSeen(batch: { readonly records: Map<string, FoldedRecord>; refused: number; refusedBulk: number }, head: SeenHead, message: LogMessage): void {
  const known = batch.records.get(head.id);
  const { value, partition, offset, isBulk = false } = message;
  if (known === undefined) {
    const { id, modifiedMs, observedMs, hash, coverage, fieldsAt } = head;
    batch.records.set(id, { id, modifiedMs, versionMs: versionTime(head), observedMs, hash, coverage, value: value as Buffer, fieldsAt, deletedMs: -1, partition, offset, isBulk });
  } else if (known.hash === '' || compareVersions(head, known) > 0) {
    if (known.hash !== '') refuse(batch, known.isBulk);
    Object.assign(known, head, { versionMs: versionTime(head), value, partition, offset, isBulk });
  } else {
    refuse(batch, isBulk);
  }
}

function refuse(batch: { refused: number; refusedBulk: number }, isBulk: boolean): void {
  batch.refused += 1;
  if (isBulk) batch.refusedBulk += 1;
}

const nothing = Buffer.alloc(0);

function foldOther(batch: FoldedBatch, message: LogMessage): void {
  try {
    const event = decodeEvent(message.value ?? nothing);
    switch (event.type) {
      case 'RecordDeleted':
        foldDeletion(batch.records, event.id, event.deletedMs + 999, message);
        break;
      case 'RecordConfirmed':
        batch.confirmations.push({ ...event, versionMs: versionTime(event) });
        break;
      case 'CoverageDeclared':
        batch.coverages.push(event);
        break;
      case 'RecordSeen':
      case 'RecordRepaired':
        // Readable, but not of the one published form: somebody else wrote it, or a defect did.
        batch.rejects.push({ message, code: 'EVENT_MALFORMED', cause: 'the head is not in its published order' });
    }
  } catch (error) {
    if (!(error instanceof EventFormatError) || error.code === 'EVENT_VERSION_UNKNOWN') throw error;
    batch.rejects.push({ message, code: error.code, cause: error.message });
  }
}

function foldDeletion(records: Map<string, FoldedRecord>, id: string, deletedMs: number, { partition, offset }: LogMessage): void {
  const known = records.get(id);
  if (known !== undefined) known.deletedMs = Math.max(known.deletedMs, deletedMs);
  else records.set(id, { id, modifiedMs: 0, versionMs: 0, observedMs: 0, hash: '', coverage: '', value: nothing, fieldsAt: 0, deletedMs, partition, offset, isBulk: false });
}
