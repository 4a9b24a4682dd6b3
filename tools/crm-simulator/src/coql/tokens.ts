import { ApiError } from '../errors.ts';

/** A piece of a query; `at` is its place in the text. */
export type Token =
  | { readonly type: 'word' | 'string' | 'number' | 'sign'; readonly text: string; readonly at: number }
  | { readonly type: 'end'; readonly text: ''; readonly at: number };

const pieces = /\s+|(?<word>[A-Za-z_$][\w$]*(?:\.[A-Za-z_$][\w$]*)*)|(?<number>-?\d+(?:\.\d+)?)|'(?<single>(?:[^'\\]|\\.|'')*)'|"(?<double>(?:[^"\\]|\\.)*)"|(?<sign><=|>=|!=|<>|[=<>(),])/y;

/**
 * Cuts a query into tokens. Texts stand in single or double quotes; a backslash or a doubled quote keeps a quote.
 * @throws {ApiError} `SYNTAX_ERROR` at the first thing that is none of them.
 */
export function tokenize(query: string): Token[] {
  const tokens: Token[] = [];
  pieces.lastIndex = 0;
  while (pieces.lastIndex < query.length) {
    const at = pieces.lastIndex;
    const groups = pieces.exec(query)?.groups;
    if (groups === undefined) throw new ApiError(400, 'SYNTAX_ERROR', 'error occurred while parsing the query', { line: 1, column: at + 1, near: query.slice(at, at + 20) });
    const { word, number, single, double, sign } = groups;
    if (word !== undefined) tokens.push({ type: 'word', text: word, at });
    else if (number !== undefined) tokens.push({ type: 'number', text: number, at });
    else if (single !== undefined || double !== undefined) tokens.push({ type: 'string', text: unescaped(single?.replaceAll("''", "'") ?? double ?? ''), at });
    else if (sign !== undefined) tokens.push({ type: 'sign', text: sign === '<>' ? '!=' : sign, at });
  }
  return [...tokens, { type: 'end', text: '', at: query.length }];
}

const unescaped = (text: string): string => text.replaceAll(/\\(.)/gs, '$1');
