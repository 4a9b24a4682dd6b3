import { createTestDatabase } from '@lockstep/local-stack';
import { type ModuleDefinition, topicOf } from '@lockstep/modules';
import { connect, migrate, noteEpsilon, wantedLooks } from '@lockstep/postgres';
import { adoptMapping, loadPositions, ModuleProjection, projectBatch, retryParked } from '@lockstep/projection';
import type { FieldValue } from '@lockstep/record-log';
import fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';

import { describeConflicts, type TablesUnderTest } from './contracts/conflicts-contract.ts';
import { endOf, histories } from './contracts/conflicting-histories.ts';
import { ENOUGH_ROUNDS, memoryTablesUnderTest } from './memory-tables.ts';
import { LONGEST_COMPANY, simulatedModules } from './modules.ts';

const EPSILON_MS = 60_000;

/** The legacy schema, with the constraints that the simulation knows. */
const constraints = `
  alter table public.leads add check (length(company) <= ${LONGEST_COMPANY});
  alter table public.products add unique (product_code), add unique (product_name), alter column product_name set not null;
  alter table public.deals add foreign key (main_product_id) references public.products (id)`;

/** The tables of the product, on a database of their own. */
async function postgresTables(): Promise<TablesUnderTest> {
  const testDatabase = await createTestDatabase({ legacySchema: true });
  const db = await connect({ url: testDatabase.url, poolSize: 4 });
  await migrate(db, [...simulatedModules]);
  await noteEpsilon(db, EPSILON_MS);
  await db.pool.query(constraints);
  const client = await db.pool.connect();
  const projections = new Map(simulatedModules.map((module) => [module, new ModuleProjection(module, EPSILON_MS)]));
  const projectionOf = (module: ModuleDefinition): ModuleProjection => projections.get(module) as ModuleProjection;
  return {
    project: async (module, messages) => {
      const [from, to] = [messages[0]?.offset ?? 0, (messages.at(-1)?.offset ?? 0) + 1];
      await projectBatch(client, projectionOf(module), { topic: topicOf(module), topicId: module.apiName, messages: messages.map((message) => ({ ...message, partition: 0 })), positions: new Map([[0, { from, to }]]) });
    },
    resolve: async (rounds = ENOUGH_ROUNDS) => {
      for (let round = 0; round < rounds; round += 1) {
        await client.query(`update lockstep.parked set tried_at = now() - interval '1 hour'`);
        for (const projection of projections.values()) await retryParked(client, projection);
        await wantedLooks(db).resolveOvertaken();
      }
    },
    rows: async ({ table, fields, onDelete }) => {
      const { rows } = await client.query<{ id: string; values: FieldValue[]; isDeleted: boolean }>(
        `select id::text, json_build_array(${fields.map(({ column, kind }) => (kind === 'boolean' ? column : `${column}::text`)).join(', ')}) as values, ${onDelete.action === 'mark' ? `${onDelete.deletedColumn} is not null` : 'false'} as "isDeleted"
         from public.${table.name} order by id`,
      );
      return rows;
    },
    parked: async ({ apiName }) => {
      const { rows } = await client.query<{ id: string }>('select distinct record_id as id from lockstep.parked where module = $1 and resolved_at is null order by 1', [apiName]);
      return rows.map(({ id }) => id);
    },
    clear: async () => {
      await client.query('truncate public.leads, public.deals, public.products, lockstep.record_version, lockstep.projection_offset, lockstep.parked, lockstep.look_wanted, lockstep.mapping cascade');
      for (const [module, projection] of projections) {
        await adoptMapping(db.pool, projection);
        await loadPositions(client, { topic: topicOf(module), topicId: module.apiName, partitions: [0] });
      }
    },
    close: async () => {
      client.release();
      await db.close();
      await testDatabase.drop();
    },
  };
}

describeConflicts('Postgres', postgresTables);

let real: TablesUnderTest;
beforeAll(async () => {
  real = await postgresTables();
});
afterAll(() => real.close());

test('Postgres and the tables in memory end alike, as the CRM is, whatever conflicts on the way', async () => {
  await fc.assert(
    fc.asyncProperty(histories, async (history) => {
      const end = await endOf(real, history);
      expect(end).toEqual({ rows: history.rows, parked: [] });
      expect(end).toEqual(await endOf(memoryTablesUnderTest(EPSILON_MS), history));
    }),
    { numRuns: 25 },
  );
}, 240_000);
