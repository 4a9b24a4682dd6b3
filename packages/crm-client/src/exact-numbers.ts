import { closingQuote } from './duplicate-keys.ts';

const QUOTE = 0x22;
const number = /[-\d][-+.\deE]*/y;
const numberOrQuote = /["\-\d]/g;

/**
 * The same JSON with each number as a text of its digits that a double would not give back. A reviver could do that too, but calls itself for each level: a value that is
 * nested deep enough would make the whole reply unreadable.
 * @throws {SyntaxError} for what is no JSON.
 */
export function withExactNumbers(json: string): string {
  // What is no number must not become a text.
  JSON.parse(json);
  let exact = '';
  let copiedTo = 0;
  numberOrQuote.lastIndex = 0;
  for (let found = numberOrQuote.exec(json); found !== null; found = numberOrQuote.exec(json)) {
    const at = found.index;
    if (json.charCodeAt(at) === QUOTE) {
      numberOrQuote.lastIndex = closingQuote(json, at + 1) + 1;
      continue;
    }
    number.lastIndex = at;
    const [digits] = number.exec(json) as RegExpExecArray;
    numberOrQuote.lastIndex = at + digits.length;
    if (String(Number(digits)) === digits) continue;
    exact += `${json.slice(copiedTo, at)}"${digits}"`;
    copiedTo = at + digits.length;
  }
  return exact + json.slice(copiedTo);
}
