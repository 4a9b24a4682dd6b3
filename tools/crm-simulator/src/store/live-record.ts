import type { Draft, FieldSpec, Value } from '../catalogue/field-spec.ts';
import type { ModuleSpec } from '../catalogue/catalogue.ts';
import { mix, mix2 } from '../random.ts';
import { idOf } from '../record-ids.ts';

/** What was changed on a record since the start, or all of a record that was created since. An edit makes a new one. */
export type Overlay = {
  readonly modifiedMs: number;
  readonly createdMs: number | null;
  /** Running number of the record for the generators. */
  readonly index: number;
  /** `true`: fields that were never set are generated; `false`: they are empty. */
  readonly generated: boolean;
  readonly values: ReadonlyMap<string, Value>;
};

/** When a record was made and last changed, epoch ms; `bornMs` is its last change before any edit. */
export type Times = { readonly createdMs: number; readonly bornMs: number; readonly modifiedMs: number };

/**
 * One version of a record: its generated values and, above them, its edits up to now; later ones do not show. Values are worked
 * out on request.
 */
export class LiveRecord implements Draft {
  readonly module: ModuleSpec;
  readonly key: number;
  readonly index: number;
  readonly createdMs: number;
  readonly bornMs: number;
  readonly modifiedMs: number;
  readonly #hash: number;
  readonly #overlay: Overlay | undefined;

  constructor(module: ModuleSpec, hash: number, key: number, index: number, times: Times, overlay?: Overlay) {
    this.module = module;
    this.key = key;
    this.index = index;
    this.createdMs = times.createdMs;
    this.bornMs = times.bornMs;
    this.modifiedMs = times.modifiedMs;
    this.#hash = hash;
    this.#overlay = overlay;
  }

  get id(): string {
    return idOf(this.key);
  }

  /** The value of a field of this module. */
  get(field: FieldSpec): Value {
    const overlay = this.#overlay;
    if (overlay !== undefined && !field.derived) {
      const value = overlay.values.get(field.apiName);
      if (value !== undefined) return value;
      if (!overlay.generated) return field.kind === 'boolean' ? false : null;
    }
    if (field.kind === 'id') return this.id;
    return field.generate(mix(this.#hash ^ field.salt), this);
  }

  value(apiName: string): Value {
    const field = this.module.byName.get(apiName);
    return field === undefined ? null : this.get(field);
  }

  /** The text that lists and the deleted list show for the record. */
  get displayName(): string | null {
    const value = this.value(this.module.displayField);
    return typeof value === 'string' ? value : null;
  }
}

/** The hash all generated values of a record come from. */
export const recordHash = (moduleSeed: number, index: number): number => mix2(moduleSeed, index);
