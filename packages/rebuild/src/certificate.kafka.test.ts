import { execFile, spawnSync } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

import { testKafkaBrokers } from '@lockstep/local-stack';
import { coverageOf, leads, type ModuleDefinition, products } from '@lockstep/modules';
import { coverage, encodeConfirmed, encodeRepaired } from '@lockstep/record-log';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';

import { type Certificate, certifyModule } from './certificate.ts';
import { declared, deleted, Fixture, idOf, lead, type LogEvent, seen, START_MS } from './testing.ts';

const script = fileURLToPath(new URL('../outsider/check-certificate.mjs', import.meta.url));
const covered = coverageOf(leads);

let fixture: Fixture;
let folder: string;

beforeEach(async () => {
  [fixture, folder] = [await Fixture.open(), await mkdtemp(join(tmpdir(), 'lockstep-certificate-'))];
});
afterEach(async () => {
  await fixture.close();
  await rm(folder, { recursive: true });
});

const certify = (module: ModuleDefinition = leads): Promise<Certificate> => certifyModule(fixture.deps, fixture.projection(module), { topic: fixture.topic.name });

/** Runs the script in a process of its own. */
async function check(certificate: Certificate): Promise<{ readonly code: number; readonly lines: readonly string[] }> {
  const file = join(folder, 'certificate.json');
  await writeFile(file, JSON.stringify(certificate));
  const env = { ...process.env, KAFKA_BROKERS: testKafkaBrokers().join(','), DATABASE_URL: fixture.url };
  const { code, stdout } = await promisify(execFile)(process.execPath, [script, file], { env }).then(({ stdout: text }) => ({ code: 0, stdout: text }), (error: { code: number; stdout: string }) => error);
  return { code, lines: stdout.trim().split('\n').map((line) => line.slice(0, line.indexOf(': '))) };
}

/** Contents in any order, a repair, confirmations, deletions, returns, and values that Postgres writes otherwise than the CRM. */
function mixed(): LogEvent[] {
  const many = Array.from({ length: 60 }, (_, n) => seen(n, lead(n, { Annual_Revenue: '1234.5', Created_Time: '2025-02-03T04:05:06.000Z', Email_Opt_Out: n % 2 === 0, Date_of_Birth: '1999-12-31' }), { modified: 10 }));
  const confirmed = (n: number, observed: number): LogEvent => ({ id: idOf(n), value: encodeConfirmed({ id: idOf(n), modifiedMs: START_MS + 10_000, observedMs: START_MS + observed * 1000, hash: many[n]?.hash ?? '' }) });
  return [
    ...declared(covered),
    ...many,
    ...Array.from({ length: 20 }, (_, n) => seen(n, lead(n, { City: 'Oslo' }), { modified: 20 })),
    ...Array.from({ length: 20 }, (_, n) => seen(n, lead(n, { City: 'Outdated' }), { modified: 15, observed: 400 })),
    confirmed(30, 900),
    ...Array.from({ length: 9 }, (_, n) => deleted(n + 30, 300)),
    confirmed(31, 900),
    ...Array.from({ length: 3 }, (_, n) => seen(n + 35, lead(n, { City: 'Back' }), { modified: 600 })),
    deleted(9_000, 10),
    { id: idOf(50), value: encodeRepaired({ id: idOf(50), modifiedMs: START_MS, versionMs: START_MS + 11_000, observedMs: START_MS + 700_000, coverage: covered.id, fields: covered.fields.map((field) => lead(50)[field] ?? null) }).value },
    { id: idOf(51), value: 'no event' },
    seen(52, lead(52, { Annual_Revenue: '1.001' }), { modified: 50 }),
  ];
}

describe('a certificate', () => {
  test('says what the table holds, and a script that knows nothing of Lockstep comes to the same', async () => {
    await fixture.publish(mixed());
    await fixture.project();
    const certificate = await certify();
    expect(certificate).toMatchObject({ version: 1, module: 'Leads', rows: 60, records: 61, columnsLeftOut: [], completeTo: null, digest: expect.stringMatching(/^[0-9a-f]{64}$/) as string });
    expect(certificate.parked).toHaveLength(2);
    expect(await check(certificate)).toEqual({ code: 0, lines: ['equal', 'equal'] });
  });

  test('holds after the table has moved on, for what it was issued for', async () => {
    await fixture.publish(mixed());
    await fixture.project();
    const certificate = await certify();
    await fixture.publish([seen(3, lead(3, { City: 'Later' }), { modified: 900 }), deleted(4, 900), seen(70, lead(70), { modified: 900 })]);
    await fixture.project();
    expect(await check(certificate)).toEqual({ code: 0, lines: ['equal', 'equal'] });
    expect((await certify()).digest).not.toBe(certificate.digest);
  });

  test('of a module whose deleted rows are removed', async () => {
    await fixture.publish([...declared(coverageOf(products)), ...Array.from({ length: 30 }, (_, n) => seen(n, { Product_Name: `P ${n}`, Unit_Price: '9.5' }, { module: products })), ...Array.from({ length: 9 }, (_, n) => deleted(n, 500))]);
    await fixture.project(products);
    const certificate = await certify(products);
    expect(certificate.rows).toBe(21);
    expect(await check(certificate)).toEqual({ code: 0, lines: ['equal', 'equal'] });
  });

  test('leaves out columns that some contents do not speak of, and says which', async () => {
    const small = coverage(['Last_Name', 'City']);
    await fixture.publish([...declared(covered), ...declared(small), seen(1, lead(1)), seen(2, { Last_Name: 'Ann', City: 'Oslo' }, { covered: small }), seen(1, { Last_Name: 'Ben', City: null }, { modified: 9, covered: small })]);
    await fixture.project();
    const certificate = await certify();
    expect(certificate.columns).toEqual({ Last_Name: 'last_name', City: 'city' });
    expect(certificate.columnsLeftOut).toContain('company');
    expect(await check(certificate)).toEqual({ code: 0, lines: ['equal', 'equal'] });
  });

  test('is refused while anything differs', async () => {
    await fixture.publish([...declared(covered), seen(1, lead(1)), seen(2, lead(2))]);
    await fixture.project();
    await fixture.sql(`update leads set city = 'by hand' where id = $1`, [idOf(2)]);
    await expect(certify()).rejects.toMatchObject({ code: 'DIFFERENT', message: expect.stringContaining('row differs: 1') as string });
  });
});

describe('the script', () => {
  test.each([
    ['a value that was changed', `update leads set city = 'by hand' where id = ${idOf(2)}`],
    ['a row that was removed', `delete from leads where id = ${idOf(2)}`],
    ['a row that was made up', `insert into leads (id, modified_time, last_name) values (77, now(), 'made up')`],
    ['a mark of deletion that was taken off', `update leads set deleted_at = null where id = ${idOf(3)}`],
  ])('notices %s', async (_, damage) => {
    await fixture.publish([...declared(covered), seen(1, lead(1)), seen(2, lead(2)), seen(3, lead(3)), deleted(3, 500)]);
    await fixture.project();
    const certificate = await certify();
    await fixture.sql(damage);
    expect(await check(certificate)).toEqual({ code: 1, lines: ['equal', 'DIFFERENT'] });
  });

  test('notices a certificate that says something else', async () => {
    await fixture.publish([...declared(covered), seen(1, lead(1))]);
    await fixture.project();
    const certificate = await certify();
    expect(await check({ ...certificate, rows: 2 })).toEqual({ code: 1, lines: ['DIFFERENT', 'equal'] });
    expect(await check({ ...certificate, digest: '0'.repeat(64) })).toEqual({ code: 1, lines: ['DIFFERENT', 'equal'] });
  });

  test.each([
    ['no certificate', [], {}, /^which certificate\?\n/],
    ['a file that is not there', ['nowhere.json'], {}, /^cannot be checked: ENOENT/],
    ['no broker', ['nowhere.json'], { KAFKA_BROKERS: '' }, /^KAFKA_BROKERS is not set\n/],
    ['another JSON', [fileURLToPath(new URL('../package.json', import.meta.url))], {}, /is no certificate of version 1\n/],
  ])('says what it lacks, without a stack, when given %s', (_, args, more, text) => {
    const { status, stderr } = spawnSync(process.execPath, [script, ...args], { encoding: 'utf8', env: { PATH: process.env['PATH'], KAFKA_BROKERS: '127.0.0.1:1', DATABASE_URL: 'postgres://127.0.0.1:1/x', ...more } });
    expect({ status, stderr }).toEqual({ status: 2, stderr: expect.stringMatching(text) as string });
    expect(stderr).not.toContain('    at ');
  });
});
