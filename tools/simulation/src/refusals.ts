import { CrmError, type DeletedRecord, type FoundRecord } from '@lockstep/crm-client';

import type { Fault } from './faults.ts';

/**
 * What the CRM refuses for good, until it is lifted:
 * - `jobs`: no bulk job of the module is created;
 * - `list`: a deleted list longer than ten pages fails at the eleventh;
 * - `look`: every look at one record fails;
 * - `time`: every look at one record returns it without a `Modified_Time`;
 * - `field`: one field is gone, and every query and job that names it is refused.
 */
export type Refusal =
  | { readonly kind: 'jobs' | 'list'; readonly module: string }
  | { readonly kind: 'look' | 'time'; readonly module: string; readonly id: string }
  | { readonly kind: 'field'; readonly module: string; readonly field: string };

/** Deletions on ten pages: few, so that a life of an hour reaches them. */
const TEN_PAGES = 4;

/** The refusals of a CRM. */
export class Refusals {
  readonly #onFault: (fault: Fault) => void;
  #active: readonly Refusal[] = [];

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

  /** A query that names these fields. @throws {CrmError} */
  query(module: string, fields: readonly string[]): void {
    if (this.#has('field', module, ({ field }) => fields.includes(field))) this.#refuse('field-removed', 'CRM_REFUSED');
  }

  /** A look at these records. @throws {CrmError} */
  look(module: string, ids: readonly string[]): void {
    if (this.#has('look', module, ({ id }) => ids.includes(id))) this.#refuse('record-unreadable', 'CRM_REFUSED');
  }

  /** A record as a look shows it. */
  shown(module: string, record: FoundRecord): FoundRecord {
    if (!this.#has('time', module, ({ id }) => id === record.id)) return record;
    this.#onFault('record-unreadable');
    return { ...record, modifiedTime: '' };
  }

  /** A deleted list that is read to its end. @throws {CrmError} */
  list(module: string, deletions: DeletedRecord[]): DeletedRecord[] {
    if (deletions.length > TEN_PAGES && this.#has('list', module, () => true)) this.#refuse('list-refused', 'CRM_UNAVAILABLE');
    return deletions;
  }

  /** A bulk job of these fields. @throws {CrmError} */
  job(module: string, fields: readonly string[]): void {
    this.query(module, fields);
    if (this.#has('jobs', module, () => true)) this.#refuse('jobs-refused', 'CRM_REFUSED');
  }

  #has<K extends Refusal['kind']>(kind: K, module: string, fits: (refusal: Extract<Refusal, { kind: K }>) => boolean): boolean {
    return this.#active.some((one) => one.kind === kind && one.module === module && fits(one as Extract<Refusal, { kind: K }>));
  }

  #refuse(fault: Fault, code: 'CRM_REFUSED' | 'CRM_UNAVAILABLE'): never {
    this.#onFault(fault);
    throw new CrmError('a simulated refusal', code);
  }
}
