import { ApiError } from '../errors.ts';
import type { Operator } from '../query/condition.ts';
import { reservedWords } from './reserved.ts';
import { type Token, tokenize } from './tokens.ts';

/** A literal of the query: its text, and whether it stood in quotes. */
export type Literal = { readonly text: string; readonly isQuoted: boolean };

/** What `where` says, in the query's own words. */
export type Expression =
  | { readonly type: 'compare'; readonly column: string; readonly operator: Operator; readonly literals: readonly Literal[] }
  | { readonly type: 'and' | 'or'; readonly parts: readonly Expression[] };

export type Query = {
  readonly columns: readonly string[];
  readonly module: string;
  readonly where: Expression;
  readonly order: readonly { readonly column: string; readonly descending: boolean }[];
  readonly limit: number | null;
  readonly offset: number | null;
};

const MAX_DEPTH = 25;
/** More comparisons than these stand side by side only in brackets. */
const MAX_TERMS = 2;

type Level = { readonly depth: number; terms: number };

/**
 * Reads `select … from … where … [order by …] [limit … [offset …]]`; `limit 200, 10` means offset 200, limit 10.
 * A name that is a reserved word stands in quotes; any other may.
 * @throws {ApiError} `SYNTAX_ERROR` naming the clause and what stood there.
 */
export function parseQuery(text: string): Query {
  return new Parser(tokenize(text)).query();
}

class Parser {
  readonly #tokens: readonly Token[];
  #at = 0;

  constructor(tokens: readonly Token[]) {
    this.#tokens = tokens;
  }

  query(): Query {
    this.#keyword('select', 'select');
    const columns = this.#list(() => this.#word('select'));
    this.#keyword('from', 'from');
    const module = this.#word('from');
    this.#keyword('where', 'where');
    const where = this.#or({ depth: 0, terms: 0 });
    const order = this.#takeKeyword('order') ? this.#order() : [];
    const [limit, offset] = this.#limit();
    if (this.#peek.type !== 'end') throw this.#unexpected('query');
    return { columns, module, where, order, limit, offset };
  }

  #or(level: Level): Expression {
    return this.#joined('or', () => this.#and(level));
  }

  #and(level: Level): Expression {
    return this.#joined('and', () => this.#term(level));
  }

  #joined(type: 'and' | 'or', part: () => Expression): Expression {
    const first = part();
    const parts = [first];
    while (this.#takeKeyword(type)) parts.push(part());
    return parts.length === 1 ? first : { type, parts };
  }

  #term(level: Level): Expression {
    if (level.depth > MAX_DEPTH || ++level.terms > MAX_TERMS) throw this.#unexpected('where');
    if (!this.#takeSign('(')) return this.#comparison();
    const inner = this.#or({ depth: level.depth + 1, terms: 0 });
    this.#sign(')', 'where');
    return inner;
  }

  #comparison(): Expression {
    const column = this.#word('where');
    const { operator, literals } = this.#operation();
    return { type: 'compare', column, operator, literals };
  }

  #operation(): { operator: Operator; literals: readonly Literal[] } {
    if (this.#takeKeyword('is')) {
      const denies = this.#takeKeyword('not');
      this.#keyword('null', 'where');
      return { operator: denies ? 'is not null' : 'is null', literals: [] };
    }
    const denies = this.#takeKeyword('not');
    if (this.#takeKeyword('in')) {
      this.#sign('(', 'where');
      const literals = this.#list(() => this.#literal());
      this.#sign(')', 'where');
      return { operator: denies ? 'not in' : 'in', literals };
    }
    if (this.#takeKeyword('like')) return { operator: denies ? 'not like' : 'like', literals: [this.#literal()] };
    if (this.#takeKeyword('between')) {
      const low = this.#literal();
      this.#keyword('and', 'where');
      return { operator: denies ? 'not between' : 'between', literals: [low, this.#literal()] };
    }
    const sign = this.#peek;
    if (denies || sign.type !== 'sign' || !['=', '!=', '<', '<=', '>', '>='].includes(sign.text)) throw this.#unexpected('where');
    this.#at++;
    return { operator: sign.text as Operator, literals: [this.#literal()] };
  }

  #literal(): Literal {
    const token = this.#peek;
    const isBare = token.type === 'number' || (token.type === 'word' && /^(true|false)$/i.test(token.text));
    if (token.type !== 'string' && !isBare) throw this.#unexpected('where');
    this.#at++;
    return { text: token.text, isQuoted: token.type === 'string' };
  }

  #order(): Query['order'] {
    this.#keyword('by', 'order by');
    return this.#list(() => {
      const column = this.#word('order by');
      const descending = this.#takeKeyword('desc');
      if (!descending) this.#takeKeyword('asc');
      return { column, descending };
    });
  }

  #limit(): [number | null, number | null] {
    const first = this.#takeKeyword('limit') ? this.#count('limit') : null;
    if (first !== null && this.#takeSign(',')) return [this.#count('limit'), first];
    return [first, this.#takeKeyword('offset') ? this.#count('offset') : null];
  }

  #count(clause: string): number {
    const token = this.#peek;
    if (token.type !== 'number' || !/^\d+$/.test(token.text)) throw this.#unexpected(clause);
    this.#at++;
    return Number(token.text);
  }

  #list<T>(item: () => T): T[] {
    const items = [item()];
    while (this.#takeSign(',')) items.push(item());
    return items;
  }

  get #peek(): Token {
    return this.#tokens[this.#at] as Token;
  }

  #word(clause: string): string {
    const token = this.#peek;
    const isName = token.type === 'string' || (token.type === 'word' && !reservedWords.has(token.text.toLowerCase()));
    if (!isName) throw this.#unexpected(clause);
    this.#at++;
    return token.text;
  }

  #keyword(word: string, clause: string): void {
    if (!this.#takeKeyword(word)) throw this.#unexpected(clause);
  }

  #takeKeyword(word: string): boolean {
    const token = this.#peek;
    if (token.type !== 'word' || token.text.toLowerCase() !== word) return false;
    this.#at++;
    return true;
  }

  #sign(sign: string, clause: string): void {
    if (!this.#takeSign(sign)) throw this.#unexpected(clause);
  }

  #takeSign(sign: string): boolean {
    const token = this.#peek;
    if (token.type !== 'sign' || token.text !== sign) return false;
    this.#at++;
    return true;
  }

  #unexpected(clause: string): ApiError {
    const token = this.#peek;
    return new ApiError(400, 'SYNTAX_ERROR', 'error occurred while parsing the query', { clause, line: 1, column: token.at + 1, near: token.text || 'end of query' });
  }
}
