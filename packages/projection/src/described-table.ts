/** A column as the catalogue has it, domains resolved. */
export type DescribedColumn = {
  readonly name: string;
  /** Qualified and quoted, without a length: what a cast names, e.g. `pg_catalog.numeric`, `public.mood`. */
  readonly type: string;
  /** As psql shows it, e.g. `numeric(16,2)`. */
  readonly shown: string;
  /** The type below any domains: its name in pg_catalog, or `enum`, `citext`, `other`. */
  readonly base: string;
  /** The type modifier that applies to `base`; -1 for none. */
  readonly modifier: number;
  /** Whether a length is one of bytes: in a database of the encoding SQL_ASCII. */
  readonly countsBytes: boolean;
  readonly isNotNull: boolean;
  /** Whether an insert that does not name the column gives it a value. */
  readonly hasDefault: boolean;
  readonly isGenerated: boolean;
  readonly isIdentityAlways: boolean;
  /** Whether its default does something each time it is evaluated: takes a number of a sequence, or calls a function of the application's. */
  readonly defaultActs: boolean;
  /** What this user may not do with it, of `select`, `insert`, `update` and `usage` (of its type). */
  readonly forbidden: readonly string[];
};

/** A legacy table as the catalogue has it, and as this user may use it. */
export type DescribedTable = {
  /** Changes with whatever changes the table; see `shapeSql`. */
  readonly shape: string;
  /** `pg_class.relkind`: `r` ordinary, `p` partitioned, `v` view … */
  readonly kind: string;
  /** Whether it is no partitioned table, and has no type, trigger or function in a check that is not Postgres's own: none of them can change. */
  readonly isPlain: boolean;
  readonly isPermanent: boolean;
  readonly isRowSecurityActive: boolean;
  /** Whether other tables inherit from it (partitions do not count). */
  readonly hasHeirs: boolean;
  readonly hasKeyIndex: boolean;
  /** Whether the key has another unique index, of a deferrable constraint: with that one INSERT … ON CONFLICT refuses the key. */
  readonly hasDeferrableKeyIndex: boolean;
  readonly rules: readonly string[];
  /** Tables with a foreign key to this one that would remove or change their rows when one of its rows is removed. */
  readonly cascades: readonly string[];
  /** Triggers that run when a row is written or removed, those of partitions included. */
  readonly triggers: readonly string[];
  /** Those of them that may run at the end of the transaction, qualified and quoted. */
  readonly deferredTriggers: readonly string[];
  /** Foreign keys to columns of it that write rows of other tables when such a value changes: `orders_fkey of orders on update set null`. */
  readonly updateCascades: readonly { readonly column: string; readonly what: string }[];
  /** Why Postgres refuses each update or removal, whatever the row; such as a publication of a table without a replica identity. */
  readonly refusals: readonly string[];
  /** What of the columns that an insert leaves out refuses their being null. */
  readonly nullRefusals: readonly string[];
  /** Checks that involve columns which are not mapped, or the row as a whole: a proposed row, which lacks their values, says nothing about the one that stands. */
  readonly foreignChecks: readonly string[];
  /** Checks, those of domains and partitions included, that may take later what they refuse now: they ask for the time, or call a function that is not immutable. */
  readonly unsteadyChecks: readonly string[];
  /** Whether one may fill a column that an insert leaves out: before, for each row, and for inserts. */
  readonly hasInsertTrigger: boolean;
  /** Privileges that are missing beside those on columns, as the grants that would give them. */
  readonly missingGrants: readonly string[];
  readonly columns: ReadonlyMap<string, DescribedColumn>;
};

const HEADER = 4;

/** Length of a varchar or char in characters; Infinity where it has none. */
export const lengthOf = ({ modifier }: DescribedColumn): number => (modifier < 0 ? Number.POSITIVE_INFINITY : modifier - HEADER);

/** Digits after the point that a numeric keeps (negative since Postgres 15: zeros before it). */
export const scaleOf = ({ modifier }: DescribedColumn): number => (modifier < 0 ? Number.POSITIVE_INFINITY : (((modifier - HEADER) & 0x7ff) ^ 1024) - 1024);

/** Digits before the point that a numeric holds. */
export const wholeDigitsOf = (column: DescribedColumn): number => (column.modifier < 0 ? Number.POSITIVE_INFINITY : (((column.modifier - HEADER) >> 16) & 0xffff) - scaleOf(column));

/** Digits of a second that a timestamp keeps. */
export const secondDigitsOf = ({ modifier }: DescribedColumn): number => (modifier < 0 ? 6 : modifier);
