import { hashText } from '../random.ts';

/** A person or a record that another record points to. */
export type Lookup = { readonly id: string; readonly name: string; readonly email?: string };

/** A field's value inside the simulator. Date-times are epoch ms, dates `yyyy-MM-dd`, big integers strings. */
export type Value = null | string | number | boolean | readonly string[] | Lookup;

/** What a field holds. It decides the field's form in JSON, in CSV and in the truth. */
export type FieldKind =
  | 'id'
  | 'text'
  | 'email'
  | 'phone'
  | 'website'
  | 'picklist'
  | 'textarea'
  | 'autonumber'
  | 'integer'
  | 'bigint'
  | 'double'
  | 'currency'
  | 'percent'
  | 'boolean'
  | 'date'
  | 'datetime'
  | 'multiselectpicklist'
  | 'tags'
  | 'lookup'
  | 'ownerlookup'
  | 'userlookup'
  | 'layout'
  | 'subform'
  | 'multiselectlookup'
  | 'fileupload';

/** What a generator may ask of the record it generates for. */
export interface Draft {
  /** Count of the record in its module, from 0. */
  readonly index: number;
  readonly createdMs: number;
  readonly modifiedMs: number;
  /** Its last change before any edit, epoch ms: what is generated must not move with an edit. */
  readonly bornMs: number;
  /** Another field's value. */
  value(apiName: string): Value;
}

/** One field of a module. */
export type FieldSpec = {
  readonly apiName: string;
  readonly label: string;
  readonly kind: FieldKind;
  readonly length: number;
  /** Of a textarea; rich text is what lists and queries cut. Null for other kinds. */
  readonly textarea: 'small' | 'large' | 'rich_text' | null;
  readonly decimalPlaces: number | null;
  readonly picks: readonly string[];
  /** API name of the module a lookup points to. */
  readonly lookupModule: string | null;
  readonly targets: readonly Lookup[];
  readonly custom: boolean;
  readonly mandatory: boolean;
  /** Set by the CRM itself; an edit may not name it. */
  readonly readOnly: boolean;
  /** Follows from other fields or from the record, also where nothing was generated. */
  readonly derived: boolean;
  /** Sets the field's hashes apart from those of its neighbours. */
  readonly salt: number;
  /** A pure function of the hash (32 bits) and the record. */
  readonly generate: (hash: number, record: Draft) => Value;
};

const notInCsv: ReadonlySet<FieldKind> = new Set(['subform', 'multiselectlookup', 'fileupload']);

/** True for the kinds that bulk read exports and COQL selects. */
export const isFlat = (field: FieldSpec): boolean => !notInCsv.has(field.kind);

/** @returns a field with the usual attributes of its kind. */
export function field(apiName: string, kind: FieldKind, rest: Partial<FieldSpec> & Pick<FieldSpec, 'generate'>): FieldSpec {
  return {
    apiName,
    kind,
    label: apiName.replace(/__s$/, '').replaceAll('_', ' '),
    length: lengths[kind] ?? 255,
    textarea: kind === 'textarea' ? 'large' : null,
    decimalPlaces: kind === 'double' ? 9 : kind === 'currency' || kind === 'percent' ? 2 : null,
    picks: [],
    lookupModule: null,
    targets: [],
    custom: false,
    mandatory: false,
    readOnly: false,
    derived: false,
    salt: hashText(apiName),
    ...rest,
  };
}

const lengths: Partial<Record<FieldKind, number>> = {
  id: 19,
  email: 100,
  phone: 30,
  website: 450,
  picklist: 120,
  textarea: 32_000,
  integer: 9,
  bigint: 18,
  double: 16,
  currency: 16,
  percent: 5,
  multiselectpicklist: 1000,
};
