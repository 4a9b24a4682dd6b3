import { compareVersions, decodeEvent, isAliveBy, readRepairedHead, readSeenHead, type RecordConfirmed, type SeenHead, type Version, versionTime } from '@lockstep/record-log';

/** A content that counts for some fields of a row: the message it stands in, and the coverage that names its fields. */
export type Layer = { readonly offset: number; readonly coverage: string };

/** What the log says of one record: its register, and the contents its row is made of, the newest first. Times are epoch milliseconds of the CRM. */
export type RecordFold = {
  readonly id: string;
  /** Null while nothing was seen. */
  version: Version | null;
  /** Upper bound of the latest deletion, and when the CRM last listed it; null for never. */
  deletedMs: number | null;
  listedMs: number | null;
  /** Where the winner stands; while nothing was seen, the first deletion. */
  offset: number;
  layers: readonly Layer[];
};

/** A message of the partition, in the order of the log. */
export type FoldedMessage = { readonly offset: number; readonly value: Buffer | null };

export type PartitionFoldOptions = {
  readonly epsilonMs: number;
  /** Whether a deleted record keeps its row; else a content after that begins a new one. */
  readonly keepsDeleted: boolean;
  /** Whether a content of the first coverage leaves nothing of one of the second to stand. */
  readonly covers: (newer: string, older: string) => boolean;
  readonly onCoverage: (coverage: string, fields: readonly string[]) => void;
  /** A content that has won up to here; it may be outdated by a later one. */
  readonly onContent: (head: SeenHead, message: FoldedMessage) => void;
};

/**
 * Folds a partition message by message, as `@lockstep/record-log` defines it, keeping of each record its register and where its contents stand: a
 * few hundred bytes, whatever the row's size.
 */
export class PartitionFold {
  readonly records = new Map<string, RecordFold>();
  readonly #options: PartitionFoldOptions;

  constructor(options: PartitionFoldOptions) {
    this.#options = options;
  }

  /** @throws {EventFormatError} for what is no event. */
  observe(message: FoldedMessage): void {
    const head = message.value === null ? null : (readSeenHead(message.value) ?? readRepairedHead(message.value));
    if (head !== null) return this.#observeContent(head, message);
    const event = decodeEvent(message.value ?? '');
    switch (event.type) {
      case 'RecordDeleted':
        return this.#observeDeletion(event.id, event.deletedMs + 999, event.listedMs ?? null, message.offset);
      case 'RecordConfirmed':
        return this.#observeConfirmation(event);
      case 'CoverageDeclared':
        return this.#options.onCoverage(event.coverage, event.fields);
      case 'RecordSeen':
      case 'RecordRepaired':
        // Readable, but not of the one published form: the projector parks it for good.
    }
  }

  #observeContent(head: SeenHead & { readonly versionMs?: number }, message: FoldedMessage): void {
    const { id, modifiedMs, observedMs, hash, coverage } = head;
    const version: Version = { modifiedMs, observedMs, hash, ...(head.versionMs === undefined ? {} : { versionMs: head.versionMs }) };
    const layer = { offset: message.offset, coverage };
    const known = this.records.get(id);
    if (known === undefined) {
      this.records.set(id, { id, version, deletedMs: null, listedMs: null, offset: message.offset, layers: [layer] });
    } else {
      if (known.version !== null && compareVersions(version, known.version) <= 0) return;
      known.version = version;
      known.offset = message.offset;
      known.layers = this.#onTop(layer, known.layers);
      this.#forgetRemoved(known);
    }
    this.#options.onContent(head, message);
  }

  /** A newer content leaves what it does not speak of as it stands. */
  #onTop(layer: Layer, before: readonly Layer[]): readonly Layer[] {
    const layers = [layer];
    for (const older of before) if (!layers.some(({ coverage }) => coverage === older.coverage || this.#options.covers(coverage, older.coverage))) layers.push(older);
    return layers;
  }

  #observeDeletion(id: string, deletedMs: number, listedMs: number | null, offset: number): void {
    const known = this.records.get(id);
    if (known === undefined) {
      this.records.set(id, { id, version: null, deletedMs, listedMs, offset, layers: [] });
      return;
    }
    known.deletedMs = Math.max(known.deletedMs ?? deletedMs, deletedMs);
    known.listedMs = listedMs === null ? known.listedMs : Math.max(known.listedMs ?? listedMs, listedMs);
    this.#forgetRemoved(known);
  }

  /** A row that was removed leaves nothing for a later content of a smaller coverage. */
  #forgetRemoved(known: RecordFold): void {
    if (!this.#options.keepsDeleted && !isAliveBy({ observedMs: known.version?.observedMs, deletedMs: known.deletedMs }, this.#options.epsilonMs)) known.layers = [];
  }

  #observeConfirmation(confirmed: RecordConfirmed): void {
    const known = this.records.get(confirmed.id);
    const version = known?.version;
    if (known === undefined || version === null || version === undefined) return;
    const isSame = version.modifiedMs === confirmed.modifiedMs && versionTime(version) === versionTime(confirmed) && version.hash === confirmed.hash;
    if (!isSame || confirmed.observedMs <= version.observedMs) return;
    const { deletedMs } = known;
    const { epsilonMs } = this.#options;
    if (isAliveBy({ observedMs: confirmed.observedMs, deletedMs }, epsilonMs) === isAliveBy({ observedMs: version.observedMs, deletedMs }, epsilonMs)) {
      known.version = { ...version, observedMs: confirmed.observedMs };
    }
  }
}
