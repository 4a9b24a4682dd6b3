import pg from 'pg';

/** Watches the projector's positions from outside. */
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

  /** Resolves with our clock, ms, once the sum of the topic's next offsets is there; looks every 50 ms, for looking takes time from what is measured. */
  async reached(topic: string, next: number, timeoutMs = 300_000): Promise<number> {
    const deadline = Date.now() + timeoutMs;
    for (;;) {
      const stands = await this.sum(topic);
      if (stands >= next) return Date.now();
      if (Date.now() > deadline) throw new Error(`${topic} stands at ${stands}, not at ${next}`);
      await new Promise((resolve) => {
        setTimeout(resolve, 50);
      });
    }
  }

  /** The sum of the topic's next offsets. */
  async sum(topic: string): Promise<number> {
    const { rows } = await this.#client.query<{ next: string | null }>('select sum(next_offset) as next from lockstep.projection_offset where topic = $1', [topic]);
    return Number(rows[0]?.next ?? 0);
  }

  async query<R extends pg.QueryResultRow>(sql: string, values: readonly unknown[] = []): Promise<R[]> {
    return (await this.#client.query<R>(sql, [...values])).rows;
  }

  close(): Promise<void> {
    return this.#client.end();
  }
}
