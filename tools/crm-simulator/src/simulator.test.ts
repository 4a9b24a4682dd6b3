import { monitorEventLoopDelay } from 'node:perf_hooks';

import { describe, expect, test } from 'vitest';

import { bulkJob, type CrmUnderTest, startCrm } from './crm-under-test.ts';

const MB = 2 ** 20;

describe('two million Leads', () => {
  test('are there at once, and cost little memory', async () => {
    const before = process.memoryUsage().rss;
    const started = performance.now();
    const crm = await startCrm({ records: { Leads: 2_000_000 } });
    expect(performance.now() - started).toBeLessThan(3000);
    expect((await crm.get('/crm/v8/Leads/actions/count')).body['count']).toBe(2_000_000);
    expect((process.memoryUsage().rss - before) / MB).toBeLessThan(100);
    await crm.close();
  });

  test('answer by id and by time as quickly as a few', async () => {
    const crm = await startCrm({ records: { Leads: 2_000_000 } });
    const started = performance.now();
    const query = (where: string) => crm.send('POST', '/crm/v8/coql', { select_query: `select id, City from Leads where ${where} limit 2000` });
    const { body } = await query("Modified_Time between '2015-06-01T00:00:00Z' and '2015-06-02T00:00:00Z' order by Modified_Time asc, id asc");
    expect(body['data'].length).toBeGreaterThan(1000);
    await query(`id = '${body['data'][7].id}'`);
    expect(performance.now() - started).toBeLessThan(1000);
    await crm.close();
  });
});

describe('the writing of a bulk result', () => {
  /** Writes a page of 50,000 rows while queries come all the time. @returns what was seen meanwhile. */
  async function spooled(crm: CrmUnderTest) {
    const loop = monitorEventLoopDelay({ resolution: 1 });
    const traffic = async () => (await crm.get('/__simulator/traffic')).body['totals'].edits as number;
    const [started, before] = [performance.now(), await traffic()];
    loop.enable();
    const job = await bulkJob(crm, { module: { api_name: 'Leads' } });
    loop.disable();
    const seconds = (performance.now() - started) / 1000;
    return { count: job['result'].count as number, seconds, editsPerSecond: ((await traffic()) - before) / seconds, blockedMs: loop.percentile(99) / 1e6 };
  }

  test('lets calls and traffic go on', async () => {
    const crm = await startCrm({ records: { Leads: 100_000 }, pageSize: 50_000 });
    crm.crm.startTraffic({ editsPerSecond: 50 });
    const { count, seconds, editsPerSecond, blockedMs } = await spooled(crm);
    expect(count).toBe(50_000);
    expect(blockedMs).toBeLessThan(50);
    expect(seconds).toBeLessThan(10);
    expect(editsPerSecond).toBeGreaterThan(30);
    await crm.close();
  }, 30_000);
});

describe('traffic', () => {
  test('edits, creates and deletes at its rates, until it is stopped', async () => {
    const crm = await startCrm({ records: { Leads: 100, Deals: 100, Products: 100 } });
    crm.crm.startTraffic({ editsPerSecond: 300, createsPerSecond: 100, deletesPerSecond: 50, seed: 5 });
    const totals = async () => (await crm.get('/__simulator/traffic')).body['totals'] as { edits: number; creates: number; deletes: number };
    while ((await totals()).deletes < 20);
    crm.crm.stopTraffic();
    const { edits, creates, deletes } = await totals();
    expect(edits / deletes).toBeCloseTo(6, 0);
    expect(creates / deletes).toBeCloseTo(2, 0);
    expect(Object.values(crm.crm.counters().records).reduce((sum, count) => sum + count)).toBe(300 + creates - deletes);
    const log = (await crm.get('/__simulator/traffic/edits')).body as unknown as { seq: number; operation: string }[];
    expect(log.map(({ seq }) => seq)).toEqual(log.map((_, at) => at + 1));
    expect(log.filter(({ operation }) => operation === 'update')).toHaveLength(edits);
    await crm.close();
  });
});
