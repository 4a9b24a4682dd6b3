import { CrmError, type CrmErrorCode, type DeletedRecord, type FoundRecord } from '@lockstep/crm-client';

import type { Fault } from './faults.ts';
import { DataFault } from './memory/memory-table.ts';

/**
 * What is refused for good, until it is lifted. By the CRM:
 * - `jobs`: no bulk job of the module is created; `job-lost`: each is, and the answer is lost; `download`: no result is given out;
 * - `list`: a deleted list longer than ten pages fails at the eleventh; `deletions`: every deleted list fails; `list-endless`: its pages say that more
 *   follow, and repeat themselves; `scan`: it fails where it is read further back than a month;
 * - `window`: the pages of what changed since a time do not advance;
 * - `look`: every query that names one record is refused; `server`: the server fails at it; `time`: it is returned without a `Modified_Time`;
 * - `field`: one field is gone, and every query and job that names it is refused;
 * - `channel`: channels are neither enabled nor extended.
 * By the legacy database: `row`: a trigger refuses one row; `locked`: another session holds it locked.
 */
export type Refusal =
  | { readonly kind: 'jobs' | 'job-lost' | 'download' | 'list' | 'deletions' | 'list-endless' | 'scan' | 'window' | 'channel'; readonly module: string }
  | { readonly kind: 'look' | 'server' | 'time' | 'row' | 'locked'; readonly module: string; readonly id: string }
  | { readonly kind: 'field'; readonly module: string; readonly field: string };
export type RefusalKind = Refusal['kind'];
type RecordRefusal = Extract<Refusal, { readonly id: string }>;
type OfRecord = RecordRefusal['kind'];
type OfModule = Exclude<RefusalKind, OfRecord | 'field'>;

/** Deletions on ten pages: few, so that a life of an hour reaches them. */
const TEN_PAGES = 4;
const MONTH_MS = 30 * 86_400_000;

/** The refusals of a world. */
export class Refusals {
  readonly #onFault: (fault: Fault) => void;
  #active: readonly Refusal[] = [];
  /** How often each has struck. */
  readonly #strikes = new Map<Refusal, number>();

  constructor(onFault: (fault: Fault) => void) {
    this.#onFault = onFault;
  }

  get active(): readonly Refusal[] {
    return this.#active;
  }

  begin(refusal: Refusal): void {
    this.#active = [...this.#active, refusal];
  }

  lift(): void {
    this.#active = [];
  }

  strikes(refusal: Refusal): number {
    return this.#strikes.get(refusal) ?? 0;
  }

  /** A query that names these fields. @throws {CrmError} */
  query(module: string, fields: readonly string[]): void {
    this.#refuseField(module, fields, 'INVALID_QUERY', 'column_name');
  }

  /** A look at these records. @throws {CrmError} */
  look(module: string, ids: readonly string[]): void {
    this.#refuse(this.#find('look', module, ({ id }) => ids.includes(id)), 'record-unreadable', 'CRM_REFUSED');
    this.#refuse(this.#find('server', module, ({ id }) => ids.includes(id)), 'server-fails-at-record', 'CRM_UNAVAILABLE');
  }

  /** A record as a look shows it. */
  shown(module: string, record: FoundRecord): FoundRecord {
    const refusal = this.#find('time', module, ({ id }) => id === record.id);
    if (refusal === undefined) return record;
    this.#strike(refusal, 'record-unreadable');
    return { ...record, modifiedTime: '' };
  }

  /** A page of what changed since a time, which others follow or not. @throws {CrmError} */
  window(module: string): void {
    this.#refuse(this.#find('window', module), 'window-stuck', 'CRM_REPLY_UNEXPECTED');
  }

  /** A deleted list that is read to its end. @throws {CrmError} */
  list(module: string, deletions: DeletedRecord[], { sinceMs, nowMs }: { readonly sinceMs: number; readonly nowMs: number }): DeletedRecord[] {
    this.#refuse(this.#find('deletions', module), 'list-refused', 'CRM_UNAVAILABLE');
    this.#refuse(this.#find('list-endless', module), 'list-endless', 'CRM_REPLY_UNEXPECTED');
    if (nowMs - sinceMs > MONTH_MS) this.#refuse(this.#find('scan', module), 'scan-refused', 'CRM_UNAVAILABLE');
    if (deletions.length > TEN_PAGES) this.#refuse(this.#find('list', module), 'list-refused', 'CRM_UNAVAILABLE');
    return deletions;
  }

  /** A bulk job of these fields. @throws {CrmError} */
  job(module: string, fields: readonly string[]): void {
    this.#refuseField(module, fields, 'FIELD_NOT_AVAILABLE', 'field');
    this.#refuse(this.#find('jobs', module), 'jobs-refused', 'CRM_REFUSED');
  }

  /** The answer to a job that was created. @throws {CrmError} */
  jobAnswer(module: string): void {
    this.#refuse(this.#find('job-lost', module), 'job-answer-lost', 'CRM_UNREACHABLE');
  }

  /** The download of a result. @throws {CrmError} */
  download(module: string): void {
    this.#refuse(this.#find('download', module), 'download-refused', 'CRM_REFUSED');
  }

  /** A channel that is enabled or extended. @throws {CrmError} */
  channel(module: string): void {
    this.#refuse(this.#find('channel', module), 'channel-refused', 'CRM_REFUSED');
  }

  /** What keeps the row of a record from being written. */
  row(module: string, id: string): DataFault | null {
    const [refused, locked] = [this.#find('row', module, (one) => one.id === id), this.#find('locked', module, (one) => one.id === id)] as const;
    if (refused !== undefined) this.#strike(refused, 'row-refused');
    if (locked !== undefined) this.#strike(locked, 'row-locked');
    if (refused !== undefined) return new DataFault('a trigger refuses the row', 'P0001');
    return locked === undefined ? null : new DataFault('another session has locked the row', '55P03');
  }

  #find(kind: OfModule, module: string): Refusal | undefined;
  #find(kind: OfRecord, module: string, fits: (refusal: RecordRefusal) => boolean): Refusal | undefined;
  #find(kind: RefusalKind, module: string, fits: (refusal: RecordRefusal) => boolean = () => true): Refusal | undefined {
    return this.#active.find((one) => one.kind === kind && one.module === module && (!('id' in one) || fits(one)));
  }

  #strike(refusal: Refusal, fault: Fault): void {
    this.#strikes.set(refusal, this.strikes(refusal) + 1);
    this.#onFault(fault);
  }

  #refuse(refusal: Refusal | undefined, fault: Fault, code: CrmErrorCode): void {
    if (refusal === undefined) return;
    this.#strike(refusal, fault);
    throw new CrmError(causeOf(refusal), code);
  }

  #refuseField(module: string, fields: readonly string[], crmCode: string, key: string): void {
    for (const refusal of this.#active) {
      if (refusal.kind !== 'field' || refusal.module !== module || !fields.includes(refusal.field)) continue;
      this.#strike(refusal, 'field-removed');
      throw new CrmError(causeOf(refusal), 'CRM_REFUSED', { crmCode, details: { [key]: refusal.field } });
    }
  }
}

/** What the CRM says of it. */
export const causeOf = ({ kind }: Pick<Refusal, 'kind'>): string => `a simulated refusal: ${kind}`;
