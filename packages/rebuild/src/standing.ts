import type { ModuleProjection } from '@lockstep/projection';
import { isAliveBy } from '@lockstep/record-log';

import { orNull } from './partition-fold.ts';
import type { RecordTable } from './record-table.ts';

/** Whether a folded record has a row, and the deletion it is marked with: the upper bound of its second, or null. */
export function standingOf(records: RecordTable, slot: number, { keepsDeleted, epsilonMs }: Pick<ModuleProjection, 'keepsDeleted' | 'epsilonMs'>): { readonly hasRow: boolean; readonly markMs: number | null } {
  const deletedMs = orNull(records.deletedMs[slot]);
  const isDead = deletedMs !== null && !isAliveBy({ observedMs: orNull(records.observedMs[slot]), deletedMs }, epsilonMs);
  return { hasRow: records.isSeen(slot) && (keepsDeleted || !isDead), markMs: isDead && keepsDeleted ? deletedMs : null };
}

/** The columns of `lockstep.record_version` that the log decides, in the order that {@link writeEntry} has. */
export const ENTRY_COLUMNS = ['record_id', 'modified_ms', 'version_ms', 'observed_ms', 'content_hash', 'deleted_ms', 'listed_ms', 'log_partition', 'log_offset'] as const;

/** Room for an entry's text. */
export const MOST_ENTRY_BYTES = 256;

/** Writes a folded record's register entry as COPY text gives it out, without its newline. @returns where it ends. */
export function writeEntry(partition: number, records: RecordTable, slot: number, target: Buffer, at: number): number {
  let end = at + target.write(records.idOf(slot), at, 'latin1');
  const modifiedMs = records.modifiedMs[slot] as number;
  const versionMs = records.versionMs[slot] as number;
  end = writeCell(target, end, modifiedMs);
  end = writeCell(target, end, versionMs === modifiedMs ? Number.NaN : versionMs);
  end = writeCell(target, end, records.observedMs[slot] as number);
  target[end++] = TAB;
  end = records.isSeen(slot) ? records.writeHash(slot, target, end) : writeNull(target, end);
  end = writeCell(target, end, records.deletedMs[slot] as number);
  end = writeCell(target, end, records.listedMs[slot] as number);
  end = writeCell(target, end, partition);
  return writeCell(target, end, records.offsets[slot] as number);
}

const [TAB, ZERO, BACKSLASH, N] = [0x09, 0x30, 0x5c, 0x4e];

function writeNull(target: Buffer, at: number): number {
  target[at] = BACKSLASH;
  target[at + 1] = N;
  return at + 2;
}

const powers = Array.from({ length: 16 }, (_, digits) => 10 ** digits);

/** A tab and a whole number; null where it is NaN. */
function writeCell(target: Buffer, at: number, value: number): number {
  target[at++] = TAB;
  if (Number.isNaN(value)) return writeNull(target, at);
  if (value < 0 || value >= (powers[15] as number)) return at + target.write(String(value), at, 'latin1');
  let digits = 1;
  while (value >= (powers[digits] as number)) digits += 1;
  const end = at + digits;
  // In parts of 32 bits, with which the machine divides fast.
  const upper = Math.floor(value / 1e8);
  let left = (value - upper * 1e8) | 0;
  let to = end;
  for (let written = 0; to > at && written < 8; written += 1) {
    const tens = (left / 10) | 0;
    target[--to] = ZERO + left - tens * 10;
    left = tens;
  }
  left = upper | 0;
  while (to > at) {
    const tens = (left / 10) | 0;
    target[--to] = ZERO + left - tens * 10;
    left = tens;
  }
  return end;
}
