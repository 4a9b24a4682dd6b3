import { decodeEvent, EventFormatError, readRepairedHead, readSeenHead, versionTime } from '@lockstep/record-log';

/**
 * What is kept of a message beside its position when it is parked: the record, and the version that it would have in the register, as
 * the register has it. Null where the message does not say, or cannot be read.
 */
export type ParkedVersion = {
  readonly recordId: string | null;
  readonly modifiedMs: number | null;
  /** Only where it differs from `modifiedMs`. */
  readonly versionMs: number | null;
  readonly observedMs: number | null;
  readonly hash: string | null;
  /** Names the fields of a content. */
  readonly coverage: string | null;
  /** Of a deletion: the upper bound of its second. */
  readonly deletedMs: number | null;
};

const unknown: ParkedVersion = { recordId: null, modifiedMs: null, versionMs: null, observedMs: null, hash: null, coverage: null, deletedMs: null };

/** Reads the version of a message that is parked; of one that is no event, the record alone, where it names one. */
export function parkedVersion(value: Buffer | null): ParkedVersion {
  if (value === null) return unknown;
  try {
    const event = readSeenHead(value) ?? readRepairedHead(value) ?? decodeEvent(value);
    if ('modifiedMs' in event) {
      const { id, modifiedMs, observedMs, hash } = event;
      const covered = 'coverage' in event ? event.coverage : null;
      const versionMs = versionTime(event);
      return { ...unknown, recordId: id, modifiedMs, versionMs: versionMs === modifiedMs ? null : versionMs, observedMs, hash, coverage: covered };
    }
    return event.type === 'RecordDeleted' ? { ...unknown, recordId: event.id, deletedMs: event.deletedMs + 999 } : unknown;
  } catch (error) {
    if (!(error instanceof EventFormatError)) throw error;
    return { ...unknown, recordId: /"id":"(\d{1,19})"/.exec(value.toString('latin1', 0, 200))?.[1] ?? null };
  }
}
