import { createTestDatabase } from '@lockstep/local-stack';
import { coverageOf } from '@lockstep/modules';
import { bulkRuns, catchUps, channels, connect, incidents, looksAside, migrate, noteEpsilon, readFreshness, registerAudits, registerReader, wantedLooks, watermarks } from '@lockstep/postgres';
import { adoptMapping, loadPositions, ModuleProjection, projectBatch } from '@lockstep/projection';
import { encodeConfirmed, encodeCoverage, encodeDeleted, encodeRepaired, encodeSeen } from '@lockstep/record-log';
import fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';

import { describeStores, type StoresUnderTest } from './contracts/stores-contract.ts';
import type { LoggedMessage } from './memory/fold-messages.ts';
import { memoryStores } from './memory-stores.ts';
import { simulatedLeads } from './modules.ts';

const EPSILON_MS = 60_000;
const topic = { topic: 'crm.records.leads', topicId: 'topic' };

/** The stores of the product, on a database of their own. */
async function postgresStores(epsilonMs: number): Promise<StoresUnderTest> {
  const testDatabase = await createTestDatabase({ legacySchema: true });
  const db = await connect({ url: testDatabase.url, poolSize: 4 });
  await migrate(db, [simulatedLeads]);
  await noteEpsilon(db, epsilonMs);
  const client = await db.pool.connect();
  const projection = new ModuleProjection(simulatedLeads, epsilonMs);
  return {
    runs: bulkRuns(db),
    catchUps: catchUps(db),
    watermarks: watermarks(db),
    channels: channels(db),
    incidents: incidents(db),
    register: registerReader(db),
    audits: registerAudits(db),
    looks: wantedLooks(db),
    aside: looksAside(db),
    topicId: topic.topicId,
    project: async (messages) => {
      const [first, last] = [messages[0]?.offset ?? 0, messages.at(-1)?.offset ?? 0];
      await projectBatch(client, projection, { ...topic, messages: messages.map((message) => ({ ...message, partition: 0 })), positions: new Map([[0, { from: first, to: last + 1 }]]) });
    },
    freshness: async () => (await readFreshness(db))[0],
    rows: async () => {
      const { rows } = await client.query('select id::text, company, modified_time, deleted_at is not null as "isDeleted" from public.leads order by id');
      return rows.map(({ modified_time: modified, ...row }) => ({ ...row, modifiedMs: new Date(modified).getTime() }));
    },
    clear: async () => {
      await client.query(`truncate public.leads, lockstep.record_version, lockstep.projection_offset, lockstep.parked, lockstep.watermark, lockstep.look_wanted, lockstep.look_aside,
        lockstep.incident, lockstep.channel, lockstep.catch_up, lockstep.bulk_page, lockstep.bulk_run, lockstep.mapping cascade`);
      await adoptMapping(db.pool, projection);
      await loadPositions(client, { ...topic, partitions: [0] });
    },
    close: async () => {
      client.release();
      await db.close();
      await testDatabase.drop();
    },
  };
}

describeStores('Postgres', EPSILON_MS, () => postgresStores(EPSILON_MS));

let real: StoresUnderTest;
beforeAll(async () => {
  real = await postgresStores(2_000);
});
afterAll(() => real.close());

// Few records, seconds and names, so that every kind of tie comes up.
const covered = coverageOf(simulatedLeads);
const id = fc.integer({ min: 1, max: 3 }).map(String);
const observedMs = fc.nat({ max: 40 }).map((n) => 1_700_000_000_000 + n * 250);
const sighting = fc
  .record({ id, modifiedMs: fc.nat({ max: 5 }).map((n) => 1_700_000_000_000 + n * 1_000), observedMs, company: fc.constantFrom('A', 'B', 'C') })
  .map(({ company, ...rest }) => ({ ...rest, coverage: covered.id, fields: covered.fields.map((field) => (field === 'Company' ? company : null)) }));
const aheadMs = fc.integer({ min: 1, max: 3 }).map((n) => n * 1_000);
const event = fc.oneof(
  { weight: 4, arbitrary: sighting.map((one) => encodeSeen(one).value) },
  { weight: 3, arbitrary: sighting.map((one) => encodeConfirmed({ ...one, hash: encodeSeen(one).hash })) },
  { weight: 1, arbitrary: fc.tuple(sighting, aheadMs).map(([one, ahead]) => encodeRepaired({ ...one, versionMs: one.modifiedMs + ahead }).value) },
  { weight: 1, arbitrary: fc.tuple(sighting, aheadMs).map(([one, ahead]) => encodeConfirmed({ ...one, versionMs: one.modifiedMs + ahead, hash: encodeSeen(one).hash })) },
  { weight: 2, arbitrary: fc.record({ id, deletedMs: observedMs.map((ms) => ms - (ms % 1_000)), listedMs: observedMs.map((ms) => ms + 2_000) }, { requiredKeys: ['id', 'deletedMs'] }).map((one) => encodeDeleted(one)) },
);

test('Postgres and the stores in memory end alike, whatever the log holds and however it is cut', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(event, { minLength: 1, maxLength: 30 }), fc.array(fc.nat({ max: 30 }), { maxLength: 4 }), async (events, cuts) => {
      const values = [encodeCoverage({ coverage: covered.id, fields: covered.fields }), ...events];
      const messages = values.map((value, offset): LoggedMessage => ({ offset, value: Buffer.from(value) }));
      const edges = [0, ...cuts.map((cut) => Math.min(cut, messages.length)).toSorted((a, b) => a - b), messages.length];
      const batches = edges.slice(1).map((end, i) => messages.slice(edges[i], end)).filter(({ length }) => length > 0);
      expect(await ending(real, batches)).toEqual(await ending(memoryStores(2_000), batches));
    }),
    { numRuns: 150 },
  );
});

async function ending(stores: StoresUnderTest, batches: readonly (readonly LoggedMessage[])[]) {
  await stores.clear();
  for (const batch of batches) await stores.project(batch);
  const since = new Date(1_700_000_000_000);
  const byId = <T extends { id: string }>(list: readonly T[]): readonly T[] => list.toSorted((a, b) => (a.id < b.id ? -1 : 1));
  const { unsettled } = (await stores.freshness()) ?? {};
  await stores.register.hidden('Leads', ['1', '2', '3']);
  return {
    rows: await stores.rows(),
    register: [...(await stores.register.known('Leads', ['1', '2', '3']))].toSorted(([a], [b]) => (a < b ? -1 : 1)),
    deleted: (await stores.register.deleted('Leads', since)).toSorted(),
    doubtful: (await stores.register.doubtful('Leads', since, 2_000)).toSorted(),
    oldestDoubt: await stores.register.oldestDoubt('Leads', since, 2_000),
    hidden: await stores.audits.hidden('Leads'),
    wanted: byId(await stores.looks.due(10)),
    unsettled,
  };
}
