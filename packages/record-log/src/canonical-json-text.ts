/** What is still to be written: a text as it stands, or a value. */
type Due = { readonly text: string } | { readonly value: unknown };

/** JSON that does not depend on the order of keys, which a reply may choose. A value may be nested to any depth, and have any number of parts: no call stack is used up by it. */
export function canonicalJsonText(whole: object): string {
  let written = '';
  const due: Due[] = [{ value: whole }];
  for (let next = due.pop(); next !== undefined; next = due.pop()) {
    if ('text' in next) written += next.text;
    else if (typeof next.value === 'object' && next.value !== null) for (const part of partsOf(next.value).toReversed()) due.push(part);
    else written += JSON.stringify(next.value);
  }
  return written;
}

function partsOf(value: object): Due[] {
  const [begin, end] = Array.isArray(value) ? ['[', ']'] : ['{', '}'];
  const parts: Due[] = [{ text: begin }];
  for (const [key, part] of Array.isArray(value) ? value.map((item: unknown) => ['', item] as const) : sortedEntries(value)) {
    const comma = parts.length === 1 ? '' : ',';
    parts.push({ text: Array.isArray(value) ? comma : `${comma}${JSON.stringify(key)}:` }, { value: part });
  }
  parts.push({ text: end });
  return parts;
}

/** As an object has them: keys that are array indexes come first, by their number. */
const sortedEntries = (value: object): [string, unknown][] => Object.entries(Object.fromEntries(Object.entries(value).toSorted(([a], [b]) => (a < b ? -1 : 1))));
