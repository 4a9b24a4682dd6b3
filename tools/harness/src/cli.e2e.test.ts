import pg from 'pg';
import { expect, test } from 'vitest';

import { type CommandResult, runCommand } from './command-line.ts';
import { fetchJson } from './http.ts';
import type { Lockstep } from './lockstep.ts';
import { waitUntilLoaded, waitUntilQuiet } from './quiet.ts';
import { withLockstep } from './testing.ts';
import { waitUntil } from './wait-until.ts';

/* Each command as a process on real Postgres, Kafka and apps: exit codes, JSON, and what is said. */

const simulator = ['--leads', '300', '--deals', '0', '--products', '0'];
const modules = ['Leads'];

const edit = ({ simulator: running }: Lockstep, id: string, fields: object): Promise<unknown> => fetchJson(`${running?.url}/__simulator/records/Leads/${id}`, { method: 'POST', body: fields });

async function query<T extends object>({ databaseUrl }: Lockstep, sql: string, values: readonly unknown[] = []): Promise<T[]> {
  const client = new pg.Client({ connectionString: databaseUrl });
  await client.connect();
  try {
    return (await client.query<T>(sql, [...values])).rows;
  } finally {
    await client.end();
  }
}

async function loaded(lockstep: Lockstep): Promise<string[]> {
  await waitUntilLoaded(lockstep);
  await waitUntilQuiet(lockstep);
  return (await query<{ id: string }>(lockstep, 'select id::text as id from leads order by id limit 5')).map(({ id }) => id);
}

const json = ({ out }: CommandResult): unknown => JSON.parse(out);
const companyOf = async (lockstep: Lockstep, id: string): Promise<string | null> => (await query<{ company: string | null }>(lockstep, 'select company from leads where id = $1', [id]))[0]?.company ?? null;

test('a table and its records are verified, explained, compared with the CRM, and rebuilt', async () => {
  await withLockstep({ simulator, modules }, async (lockstep) => {
    const [id = ''] = await loaded(lockstep);
    const run = (...args: string[]): Promise<CommandResult> => runCommand(lockstep, ...args);
    expect(await run('verify', 'leads')).toMatchObject({ code: 0, out: expect.stringContaining('no difference') as unknown, err: '' });
    expect(await run('diff', 'Leads', id)).toMatchObject({ code: 0, out: expect.stringMatching(/the CRM has it; no difference[^]*by the log\s+in the CRM/) as unknown });

    await query(lockstep, `update leads set company = 'by hand' where id = $1`, [id]);
    const verified = await run('verify', 'leads', '--json');
    expect([verified.code, json(verified)]).toMatchObject([1, { counts: { 'row differs': 1 }, found: [{ id, values: [{ column: 'company', inTable: 'by hand' }] }] }]);
    const diff = await run('diff', 'Leads', id, '--json');
    expect(diff.code).toBe(1);
    expect((json(diff) as { columns: { column: string }[] }).columns.filter(({ column }) => column === 'company')).toMatchObject([{ inTable: 'by hand', differs: ['log', 'CRM'] }]);
    expect(await run('verify', 'leads', '--certificate')).toMatchObject({ code: 1, err: expect.stringContaining('row differs: 1') as unknown });
    expect(await run('explain', 'leads', id)).toMatchObject({ out: expect.stringMatching(/"by hand" .*, which says .*: changed by hand/) as unknown });
    expect(await run('rebuild', 'leads', 'Accounts')).toMatchObject({ code: 2, out: '' });
    expect(await run('rebuild', 'leads', '--dry-run')).toMatchObject({ code: 1, out: expect.stringContaining('"by hand"') as unknown });
    const rebuilt = await run('rebuild', 'leads', '--json');
    expect([rebuilt.code, json(rebuilt)]).toMatchObject([0, { rows: 1, after: { counts: {} } }]);
    expect(await companyOf(lockstep, id)).not.toBe('by hand');

    await edit(lockstep, id, { Company: 'Edited' });
    await waitUntil('the edit', async () => ((await companyOf(lockstep, id)) === 'Edited' ? true : null));
    const history = await run('history', 'Leads', id, '--json');
    expect([history.code, json(history)]).toMatchObject([0, [{ origin: 'bulk', outcome: 'won' }, { origin: 'look', outcome: 'won' }]]);
    expect(await run('explain', 'Leads', id)).toMatchObject({ code: 0, out: expect.stringContaining('(look)') as unknown });
    expect(await run('explain', 'Leads', '17')).toMatchObject({ code: 1, out: expect.stringContaining('the log has nothing of it') as unknown });
  });
});

test('a mapping is planned and applied: what stands in a column that is not known to be filled', async () => {
  await withLockstep({ simulator, modules }, async (lockstep) => {
    const [id = ''] = await loaded(lockstep);
    const run = (...args: string[]): Promise<CommandResult> => runCommand(lockstep, ...args);
    expect(await run('plan', 'leads')).toMatchObject({ code: 0, out: expect.stringContaining('nothing would change') as unknown });
    // As it is before an apply, once a projector with one more column has been started.
    await query(lockstep, 'update leads set lead_number = null');
    await query(lockstep, `update lockstep.mapping set complete = jsonb_set(complete, '{fields}', (select jsonb_agg(f) from jsonb_array_elements(complete -> 'fields') f where f ->> 'column' <> 'lead_number'))`);
    expect(await run('plan', 'leads', '--limit', '1')).toMatchObject({ code: 1, out: expect.stringMatching(/lead_number: mapped now, from Lead_Number\n300 rows would change: lead_number 300\n.*null → "LD-[^]*299 more: --limit names more[^]*"lockstep apply leads" does it/) as unknown });
    const applied = await run('apply', 'leads', '--json');
    expect([applied.code, json(applied)]).toMatchObject([0, { rows: 300, columns: ['lead_number'], isComplete: true, proof: { counts: {} } }]);
    expect(await query(lockstep, 'select lead_number is not null as is_filled from leads where id = $1', [id])).toEqual([{ is_filled: true }]);
    expect(await run('apply', 'leads')).toMatchObject({ code: 0, out: expect.stringContaining('0 rows written') as unknown });
    await query(lockstep, 'alter table leads rename column fax to telefax');
    expect(await run('plan', 'leads')).toMatchObject({ code: 1, out: expect.stringContaining('alter table "public"."leads" add column "fax" text;') as unknown });
    expect(await run('apply', 'leads')).toMatchObject({ code: 2, err: expect.stringMatching(/column fax does not exist: add it, or correct the mapping/) as unknown });
  });
});

test('a module is paused and resumed, a record waited for, and looked at on request', async () => {
  await withLockstep({ simulator, modules, env: { SCHEDULER_CATCH_UP_INTERVAL_MS: '1000' } }, async (lockstep) => {
    const [id = '', other = ''] = await loaded(lockstep);
    const run = (...args: string[]): Promise<CommandResult> => runCommand(lockstep, ...args);
    const later = new Date(Date.now() - 5_000).toISOString();

    const paused = await run('pause', 'leads', '--reason', 'the accounts are closed', '--json');
    expect([paused.code, json(paused)]).toEqual([0, { module: 'Leads', isPaused: true, isNew: true }]);
    await waitUntil('the projector to notice', async () => ((await (await fetch(`${lockstep.urls.projector}/metrics`)).text()).match(/^lockstep_projector_paused_modules\{?[^\n]* 1$/m) === null ? null : true));
    expect(await run('pause', 'leads')).toMatchObject({ code: 0, out: expect.stringContaining('was already') as unknown });
    await edit(lockstep, id, { Company: 'While paused' });
    expect(await run('wait', 'Leads', id, '--modified', later, '--timeout', '2', '--json')).toMatchObject({ code: 1, out: expect.stringContaining('"not there in time"') as unknown });
    expect(await run('status')).toMatchObject({ code: 0, out: expect.stringMatching(/Leads is paused since .* \(the accounts are closed\): nothing of it is applied until "lockstep resume Leads"/) as unknown });
    expect(await query(lockstep, 'select paused_since is not null as is_paused from lockstep.freshness')).toEqual([{ is_paused: true }]);

    await lockstep.apps['projector']?.stop();
    await lockstep.restart('projector');
    expect(await run('wait', 'Leads', id, '--modified', later, '--timeout', '1')).toMatchObject({ code: 1 });
    expect(await run('resume', 'leads')).toMatchObject({ code: 0, out: 'Leads goes on\n' });
    expect(await run('wait', 'Leads', id, '--modified', later)).toMatchObject({ code: 0, out: `Leads ${id}: stands\n` });
    expect(await companyOf(lockstep, id)).toBe('While paused');
    expect(await run('resume', 'leads')).toMatchObject({ code: 0, out: 'Leads was not paused\n' });

    const looks = async (): Promise<number> => (json(await run('history', 'Leads', other, '--json')) as unknown[]).length;
    const before = await looks();
    expect(await run('resync', 'Leads', other)).toMatchObject({ code: 0, out: expect.stringContaining(`a look at ${other} is asked for`) as unknown });
    await waitUntil('the look', async () => ((await looks()) > before ? true : null), { timeoutMs: 60_000, everyMs: 1_000 });
  });
});

test('what cannot be applied is listed, shown, tried again and given up', async () => {
  await withLockstep({ simulator, modules }, async (lockstep) => {
    const [id = '', other = ''] = await loaded(lockstep);
    const run = (...args: string[]): Promise<CommandResult> => runCommand(lockstep, ...args);
    type Listed = { id: string; recordId: string; code: string; isWaiting: boolean };
    const listed = async (...options: string[]): Promise<Listed[]> => json(await run('parked', 'list', '--json', ...options)) as Listed[];
    const parked = (record: string): Promise<Listed> => waitUntil(`${record} to be parked`, async () => (await listed()).find(({ recordId }) => recordId === record) ?? null);
    expect(await run('parked', 'list', '--module', 'leads')).toEqual({ code: 0, out: 'nothing is parked\n', err: '' });

    await query(lockstep, `create table locked as select unnest(array[${id}, ${other}]::bigint[]) as id`);
    await query(lockstep, `create function not_now() returns trigger language plpgsql as $$ begin if exists (select from locked where id = new.id) then raise exception 'not now'; end if; return new; end $$`);
    await query(lockstep, 'create trigger not_now before insert or update on leads for each row execute function not_now()');
    for (const record of [id, other]) await edit(lockstep, record, { Company: 'Refused' });
    const [one, two] = [await parked(id), await parked(other)];
    expect(one).toMatchObject({ recordId: id, code: 'P0001', isWaiting: true });
    expect(await run('parked', 'show', one.id)).toMatchObject({ code: 0, out: expect.stringMatching(/P0001: .*not now[^]*"type":"seen"[^]*"Refused"/) as unknown });

    expect(await run('parked', 'discard', two.id, '--reason', 'it was a test', '--json')).toMatchObject({ code: 0, out: expect.stringContaining(two.id) as unknown });
    expect(await run('parked', 'discard', two.id, '--reason', 'again')).toMatchObject({ code: 1, out: '0 of 1 were open, and are given up\n' });
    // A record may be seen again meanwhile, and that is another message.
    expect((await listed()).map((message) => message.id)).not.toContain(two.id);
    expect((await listed('--all')).find((message) => message.id === two.id)).toMatchObject({ discardedBecause: 'it was a test', isWaiting: false });

    await query(lockstep, `update lockstep.parked set tried_at = now(), tries = 12 where id = $1`, [one.id]);
    await query(lockstep, 'delete from locked');
    expect(await run('parked', 'retry', one.id)).toMatchObject({ code: 0, out: '1 are tried again within seconds\n' });
    await waitUntil('the row', async () => ((await companyOf(lockstep, id)) === 'Refused' ? true : null));
    expect((await listed()).map((message) => message.id)).not.toContain(one.id);
    expect(await run('parked', 'retry', '999999')).toMatchObject({ code: 2, err: expect.stringContaining('no message 999999 was parked') as unknown });
    expect(await run('parked', 'retry')).toMatchObject({ code: 2, err: expect.stringContaining('name messages, or a module') as unknown });
  });
});

test('what cannot be read is listed and counts, until its record was looked at again or a person gave it up', async () => {
  await withLockstep({ simulator, modules }, async (lockstep) => {
    const [id = '', other = ''] = await loaded(lockstep);
    const run = (...args: string[]): Promise<CommandResult> => runCommand(lockstep, ...args);
    const show = (record: string, value?: unknown): Promise<unknown> => fetchJson(`${lockstep.simulator?.url}/__simulator/shown`, { method: 'POST', body: { module: 'Leads', id: record, field: 'Modified_Time', ...(value === undefined ? {} : { value }) } });
    type Listed = { id: string; recordId: string; code: string };
    const listed = async (...options: string[]): Promise<Listed[]> => json(await run('dead-letters', 'list', '--json', ...options)) as Listed[];
    const stateOf = async (): Promise<string | undefined> => (await fetchJson<{ modules: { state: string }[] }>(`${lockstep.urls.scheduler}/status`)).modules[0]?.state;
    expect([(await run('dead-letters', 'list', '--module', 'leads')).out, await stateOf()]).toEqual(['there are no dead letters\n', 'in step']);

    for (const record of [id, other]) {
      await show(record, null);
      await edit(lockstep, record, { Company: 'Unreadable' });
    }
    const open = async (): Promise<string[]> => (await query<{ id: string }>(lockstep, 'select record_id::text as id from lockstep.dead_letter where resolved_at is null')).map((row) => row.id);
    await waitUntil('both letters', async () => ((await open()).length === 2 ? true : null));
    const letters = await listed();
    const [one, two] = [id, other].map((record) => letters.find(({ recordId }) => recordId === record) as Listed) as [Listed, Listed];
    expect([one.code, await stateOf()]).toEqual(['MODIFIED_TIME_MALFORMED', 'incomplete']);
    const status = json(await run('status', '--json')) as { modules: unknown[]; freshness: unknown[] };
    expect([status.modules[0], status.freshness[0]]).toMatchObject([{ state: 'incomplete', deadLetters: 2, aside: 2 }, { deadLetters: 2, keptAside: 2 }]);
    expect(await run('dead-letters', 'show', one.id)).toMatchObject({ code: 0, out: expect.stringMatching(/MODIFIED_TIME_MALFORMED: [^]*"module":"Leads"/) as unknown });
    await waitUntil('the incident', async () => ((await query(lockstep, `select from lockstep.incident where kind = 'dead-letters' and closed_at is null`)).length === 1 ? true : null));

    await show(id);
    expect(await run('dead-letters', 'retry', one.id)).toMatchObject({ code: 0, out: '1 record is looked at again\n' });
    await waitUntil('the row', async () => ((await companyOf(lockstep, id)) === 'Unreadable' ? true : null), { timeoutMs: 60_000 });
    await waitUntil('the letter to be settled', async () => ((await open()).join() === other ? true : null), { timeoutMs: 60_000 });
    expect(await run('dead-letters', 'discard', two.id, '--reason', 'a test', '--json')).toMatchObject({ code: 0, out: expect.stringContaining(two.id) as unknown });
    expect([await listed(), (await listed('--all')).length]).toEqual([[], 2]);
    expect(await run('dead-letters', 'retry', '999999')).toMatchObject({ code: 2, err: expect.stringContaining('there is no dead letter 999999') as unknown });
  });
});
