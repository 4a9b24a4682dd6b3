/**
 * The values of a bulk CSV's multi-select cell, joined with `;` as COQL's are. `isExplained` is false where the picklist's values do not say for certain where
 * one value ends and the next begins; then the text is the cell as it stands.
 */
export type MultiSelect = { readonly text: string; readonly isExplained: boolean };

// The choices of a module's records are few; a hundred thousand rows share them.
const CACHE_SIZE = 20_000;

/**
 * Makes a reader of a multi-select field's cells. The CRM documents no separator, `,` and `;` were both seen, and a value may hold either: so a cell is cut only
 * where the picklist leaves one way to do it.
 * @param listed every value of the picklist, as the CRM stores and as it shows it; none while they are not known: then nothing is cut.
 */
export function multiSelectReader(listed: Iterable<string>): (cell: string) => MultiSelect {
  const values = [...new Set(listed)].filter((value) => value !== '');
  const known = new Map<string, MultiSelect>();
  return (cell) => {
    // Without a comma it is either one value, or joined as it has to be.
    if (!cell.includes(',')) return { text: cell, isExplained: true };
    let read = known.get(cell);
    if (read === undefined) {
      read = explained(values, cell);
      if (known.size >= CACHE_SIZE) known.clear();
      known.set(cell, read);
    }
    return read;
  };
}

function explained(values: readonly string[], cell: string): MultiSelect {
  const texts = new Set([...waysToCut(values, cell, ';'), ...waysToCut(values, cell, ',')]);
  const [only = cell] = texts.size === 1 ? texts : [];
  return { text: only, isExplained: texts.size === 1 };
}

/** The ways to see a cell as listed values, parted by a separator; two are as good as many. */
function waysToCut(values: readonly string[], cell: string, separator: string): readonly string[] {
  const from = new Map<number, readonly string[]>();
  // From the end on, so that no cell is too long for the stack.
  for (let at = cell.length; at >= 0; at -= 1) from.set(at, values.flatMap((value) => endings(value, at)).slice(0, 2));
  return from.get(0) as readonly string[];

  function endings(value: string, at: number): readonly string[] {
    const end = at + value.length;
    if (!cell.startsWith(value, at)) return [];
    if (end === cell.length) return [value];
    return cell[end] === separator ? (from.get(end + 1) as readonly string[]).map((rest) => `${value};${rest}`) : [];
  }
}
