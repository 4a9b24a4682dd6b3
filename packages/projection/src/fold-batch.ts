import { compareVersions, type CoverageDeclared, decodeEvent, EventFormatError, readRepairedHead, readSeenHead, type RecordDeleted, type SeenHead, versionTime } from '@lockstep/record-log';

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
 * while nothing was seen, `deletedMs` and `listedMs` are -1 while nothing was deleted or listed.
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
  /** When the CRM last listed it as deleted. */
  listedMs: number;
  partition: number;
  offset: number;
  isBulk: boolean;
};

/** A look that confirmed what the register held. It carries no content, so it applies only where the content is the same. */
export type Confirmation = { readonly id: string; readonly modifiedMs: number; readonly versionMs: number; readonly observedMs: number; readonly hash: string };

/** A message that no build will ever be able to apply. */
export type Reject = { readonly message: LogMessage; readonly code: string; readonly cause: string; /** The check that refuses it. */ readonly check?: string };

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
  /**
   * The first message whose place in the log matters for one before it, as an index; null for none. Only what comes before it is folded; the
   * rest is to be folded and applied afterwards: a batch may not decide what the log says.
   */
  readonly cutAt: number | null;
};

type Folding = Omit<FoldedBatch, 'refused' | 'refusedBulk' | 'cutAt'> & { refused: number; refusedBulk: number; cutAt: number | null; at: number; readonly confirmed: Map<string, Confirmation> };

/**
 * Folds a batch by heads alone; the fields of losers are never looked at. Contents of one coverage and deletions may come in any order.
 * A confirmation holds for what stands at its place, and a content leaves what it does not speak of as it stands there: see `cutAt`.
 * @param whole where deleted rows are removed: the coverage that speaks of all of a row. A content of another one leaves nothing of a row that a
 *   deletion before it has removed, so it is not folded with that.
 * @throws {EventFormatError} `EVENT_VERSION_UNKNOWN`: the partition must stop, a newer build wrote this.
 */
export function foldBatch(messages: readonly LogMessage[], whole?: string): FoldedBatch {
  const batch: Folding = { records: new Map(), confirmations: [], coverages: [], rejects: [], refused: 0, refusedBulk: 0, cutAt: null, at: 0, confirmed: new Map() };
  for (const message of messages) {
    const head = message.value === null ? null : (readSeenHead(message.value) ?? readRepairedHead(message.value));
    if (head === null) foldOther(batch, message);
    else foldSeen(batch, head, message, whole);
    if (batch.cutAt !== null) break;
    batch.at += 1;
  }
  return batch;
}

/** What follows a confirmation of the same record may change what was confirmed. @returns whether the batch ends here. */
function isCutAfterConfirmation(batch: Folding, id: string): boolean {
  if (batch.confirmed.size === 0 || !batch.confirmed.has(id)) return false;
  batch.cutAt = batch.at;
  return true;
}

function foldSeen(batch: Folding, head: SeenHead, message: LogMessage, whole: string | undefined): void {
  if (isCutAfterConfirmation(batch, head.id)) return;
  const known = batch.records.get(head.id);
  if (whole !== undefined && known !== undefined && known.deletedMs >= 0 && head.coverage !== whole) {
    batch.cutAt = batch.at;
    return;
  }
  const { value, partition, offset, isBulk = false } = message;
  if (known === undefined) {
    const { id, modifiedMs, observedMs, hash, coverage, fieldsAt } = head;
    batch.records.set(id, { id, modifiedMs, versionMs: versionTime(head), observedMs, hash, coverage, value: value as Buffer, fieldsAt, deletedMs: -1, listedMs: -1, partition, offset, isBulk });
  } else if (known.hash === '' || compareVersions(head, known) > 0) {
    if (known.hash !== '' && known.coverage !== head.coverage) {
      batch.cutAt = batch.at;
      return;
    }
    if (known.hash !== '') refuse(batch, known.isBulk);
    Object.assign(known, head, { versionMs: versionTime(head), value, partition, offset, isBulk });
  } else {
    refuse(batch, isBulk);
  }
}

function refuse(batch: Folding, isBulk: boolean): void {
  batch.refused += 1;
  if (isBulk) batch.refusedBulk += 1;
}

const nothing = Buffer.alloc(0);

function foldOther(batch: Folding, message: LogMessage): void {
  try {
    const event = decodeEvent(message.value ?? nothing);
    switch (event.type) {
      case 'RecordDeleted':
        if (!isCutAfterConfirmation(batch, event.id)) foldDeletion(batch.records, event, message);
        break;
      case 'RecordConfirmed':
        foldConfirmation(batch, { ...event, versionMs: versionTime(event) });
        break;
      case 'CoverageDeclared':
        batch.coverages.push(event);
        break;
      case 'RecordSeen':
      case 'RecordRepaired':
        // Readable, but not of the one published form: another program wrote it, or a defect did.
        batch.rejects.push({ message, code: 'EVENT_MALFORMED', cause: 'the head is not in its published order' });
    }
  } catch (error) {
    if (!(error instanceof EventFormatError) || error.code === 'EVENT_VERSION_UNKNOWN') throw error;
    batch.rejects.push({ message, code: error.code, cause: error.message });
  }
}

/** Confirmations of one content may come in any order. */
function foldConfirmation(batch: Folding, confirmation: Confirmation): void {
  const { confirmed, confirmations } = batch;
  const before = confirmed.get(confirmation.id);
  const isSame = before === undefined || (before.modifiedMs === confirmation.modifiedMs && before.versionMs === confirmation.versionMs && before.hash === confirmation.hash);
  if (!isSame) {
    batch.cutAt = batch.at;
    return;
  }
  confirmed.set(confirmation.id, confirmation);
  confirmations.push(confirmation);
}

function foldDeletion(records: Map<string, FoldedRecord>, { id, deletedMs: atMs, listedMs = -1 }: RecordDeleted, { partition, offset }: LogMessage): void {
  const deletedMs = atMs + 999;
  const known = records.get(id);
  if (known === undefined) {
    records.set(id, { id, modifiedMs: 0, versionMs: 0, observedMs: 0, hash: '', coverage: '', value: nothing, fieldsAt: 0, deletedMs, listedMs, partition, offset, isBulk: false });
    return;
  }
  known.deletedMs = Math.max(known.deletedMs, deletedMs);
  known.listedMs = Math.max(known.listedMs, listedMs);
}
