import type { Pool, PoolClient } from 'pg';

const key = (name: string): string[] => ['lockstep consumer', name];

/** What every running instance of a consumer holds, so that nothing is reset under it. */
export class InstanceLock {
  readonly #pool: Pool;
  readonly #name: string;
  #client: PoolClient | null = null;

  constructor(pool: Pool, name: string) {
    this.#pool = pool;
    this.#name = name;
  }

  /** Takes it, again where its connection was lost. Waits while a replay holds it. */
  async hold(): Promise<void> {
    if (this.#client !== null) return;
    const client = await this.#pool.connect();
    this.#client = client;
    // It may also break while it is being closed: then there is nothing left to give back.
    client.on('error', () => this.#giveUp(client));
    try {
      await client.query('select pg_advisory_lock_shared(hashtext($1), hashtext($2))', key(this.#name));
    } catch (error) {
      this.#giveUp(client);
      throw error;
    }
  }

  /** Gives it back; once this resolves a replay may begin. */
  async release(): Promise<void> {
    const client = this.#client;
    if (client === null) return;
    await client.query('select pg_advisory_unlock_shared(hashtext($1), hashtext($2))', key(this.#name)).catch(() => undefined);
    this.#giveUp(client);
  }

  #giveUp(client: PoolClient): void {
    if (this.#client !== client) return;
    this.#client = null;
    client.release(true);
  }
}

/** Whether no instance runs. If so, none starts until the transaction has ended. */
export async function isAlone(client: Pick<PoolClient, 'query'>, name: string): Promise<boolean> {
  const { rows: [row] } = await client.query<{ taken: boolean }>('select pg_try_advisory_xact_lock(hashtext($1), hashtext($2)) as taken', key(name));
  return row?.taken === true;
}
