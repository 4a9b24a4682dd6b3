const [QUOTE, BACKSLASH, OPEN, CLOSE, COLON] = [0x22, 0x5c, 0x7b, 0x7d, 0x3a];

/**
 * The first key that an object of a JSON text holds twice; null where none does. `JSON.parse` takes the last of them without a word.
 * @param text valid JSON.
 */
export function duplicateKey(text: string): string | null {
  const open: Set<string>[] = [];
  for (let at = 0; at < text.length; at += 1) {
    const unit = text.charCodeAt(at);
    if (unit === OPEN) open.push(new Set());
    else if (unit === CLOSE) open.pop();
    else if (unit === QUOTE) {
      const end = closingQuote(text, at + 1);
      if (isFollowedByColon(text, end + 1)) {
        const key = plain(text.slice(at + 1, end));
        const keys = open.at(-1);
        if (keys?.has(key) === true) return key;
        keys?.add(key);
      }
      at = end;
    }
  }
  return null;
}

/** Where a text of valid JSON ends that begins before `from`. */
export function closingQuote(text: string, from: number): number {
  for (let at = text.indexOf('"', from); ; at = text.indexOf('"', at + 1)) {
    let slashes = 0;
    while (text.charCodeAt(at - 1 - slashes) === BACKSLASH) slashes += 1;
    if (slashes % 2 === 0) return at;
  }
}

const plain = (key: string): string => (key.includes('\\') ? (JSON.parse(`"${key}"`) as string) : key);

function isFollowedByColon(text: string, from: number): boolean {
  let at = from;
  while (text.charCodeAt(at) <= 0x20) at += 1;
  return text.charCodeAt(at) === COLON;
}
