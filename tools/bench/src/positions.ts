import pg from 'pg';

/** Watches the positions of the projector, or of a consumer, from outside. */
export class Positions {
  readonly #client: pg.Client;

  private constructor(client: pg.Client) {
    this.#client = client;
  }

  static async open(databaseUrl: string): Promise<Positions> {
    const client = new pg.Client({ connectionString: databaseUrl });
    await client.connect();
    return new Positions(client);
  }

  /** Resolves with our clock, ms, once the sum of the topic's next offsets is there. */
  reached(topic: string, next: number, timeoutMs = 300_000): Promise<number> {
    return this.#reached(topic, () => this.sum(topic), { next, timeoutMs });
  }

  /** The same for a consumer, by the schema of its state. */
  reachedBy(schema: string, next: number, timeoutMs = 300_000): Promise<number> {
    return this.#reached(schema, () => this.#sumOf(schema), { next, timeoutMs });
  }

  /** The sum of the topic's next offsets. */
  async sum(topic: string): Promise<number> {
    const [row] = await this.query<{ next: string | null }>('select sum(next_offset) as next from lockstep.projection_offset where topic = $1', [topic]);
    return Number(row?.next ?? 0);
  }

  /** Zero until the consumer has made its schema. */
  async #sumOf(schema: string): Promise<number> {
    const [there] = await this.query<{ is_there: boolean }>('select to_regclass($1) is not null as is_there', [`${schema}.position`]);
    if (there?.is_there !== true) return 0;
    const [row] = await this.query<{ next: string | null }>(`select sum(next_offset) as next from ${schema}.position`);
    return Number(row?.next ?? 0);
  }

  /** Looks every 50 ms, for looking takes time from what is measured. */
  async #reached(name: string, sum: () => Promise<number>, { next, timeoutMs }: { readonly next: number; readonly timeoutMs: number }): Promise<number> {
    const deadline = Date.now() + timeoutMs;
    for (;;) {
      const stands = await sum();
      if (stands >= next) return Date.now();
      if (Date.now() > deadline) throw new Error(`${name} stands at ${stands}, not at ${next}`);
      await new Promise((resolve) => {
        setTimeout(resolve, 50);
      });
    }
  }

  async query<R extends pg.QueryResultRow>(sql: string, values: readonly unknown[] = []): Promise<R[]> {
    return (await this.#client.query<R>(sql, [...values])).rows;
  }

  close(): Promise<void> {
    return this.#client.end();
  }
}
