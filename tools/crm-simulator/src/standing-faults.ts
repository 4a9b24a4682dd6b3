import { AdminError, ApiError } from './errors.ts';

/** Calls that are refused until that is lifted: those whose method, path with query, and body have what is named. */
export type Refusal = {
  readonly method?: string;
  /** Is part of the path with its query. */
  readonly url?: string;
  /** Is part of the body. */
  readonly body?: string;
  readonly status: number;
  readonly code: string;
  readonly message: string;
  readonly details: Readonly<Record<string, unknown>>;
};

type Standing = Refusal & { readonly id: number; hits: number };

/** Faults that stand: calls that are refused however often they are repeated, and values that are never shown as they are. */
export class StandingFaults {
  readonly #refusals = new Map<number, Standing>();
  readonly #shown = new Map<string, unknown>();
  #lastId = 0;

  /** @returns its number, by which it is lifted. */
  refuse(refusal: Refusal): number {
    const id = (this.#lastId += 1);
    this.#refusals.set(id, { ...refusal, id, hits: 0 });
    return id;
  }

  /** @throws {AdminError} `UNKNOWN_FAULT` */
  lift(id: number): Standing {
    const lifted = this.#refusals.get(id);
    if (lifted === undefined) throw new AdminError(404, 'UNKNOWN_FAULT', `no refusal ${id}`);
    this.#refusals.delete(id);
    return lifted;
  }

  /** With how many calls each has refused. */
  refusals(): readonly Standing[] {
    return [...this.#refusals.values()];
  }

  /** @throws {ApiError} where the call is to be refused. */
  check(method: string, url: string, body: unknown): void {
    for (const one of this.#refusals.values()) {
      const isMeant = (one.method ?? method) === method && url.includes(one.url ?? '') && (one.body === undefined || (typeof body === 'string' && body.includes(one.body)));
      if (!isMeant) continue;
      one.hits += 1;
      throw new ApiError(one.status, one.code, one.message, one.details);
    }
  }

  /** From now on, lists and queries show this in the place of a record's value; undefined: what it is. */
  showAs(id: string, field: string, value: unknown): void {
    if (value === undefined) this.#shown.delete(`${id} ${field}`);
    else this.#shown.set(`${id} ${field}`, value);
  }

  /** What is shown for a value. */
  shown(id: string, field: string, value: unknown): unknown {
    const key = `${id} ${field}`;
    return this.#shown.size > 0 && this.#shown.has(key) ? this.#shown.get(key) : value;
  }
}
