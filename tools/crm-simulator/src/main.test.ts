import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { describe, expect, test } from 'vitest';

const main = join(import.meta.dirname, 'main.ts');

/** Starts the process with a temporary folder of its own. @returns it once it has printed its URL. */
async function start(tmp: string, ...args: readonly string[]): Promise<{ child: ChildProcessWithoutNullStreams; url: string }> {
  const child = spawn(process.execPath, [main, '--port', '0', ...args], { env: { ...process.env, TMPDIR: tmp } });
  const [line] = (await once(child.stdout, 'data')) as [Buffer];
  return { child, url: /^CRM simulator: (http:\S+)\n$/.exec(line.toString())?.[1] ?? '' };
}

async function post(url: string, authorization = '', body?: unknown): Promise<Response> {
  return fetch(url, { method: 'POST', headers: { authorization }, ...(body === undefined ? {} : { body: JSON.stringify(body) }) });
}

describe('the process', () => {
  test.each(['SIGTERM', 'SIGINT'] as const)('prints its URL, and ends on %s in the middle of a job, leaving nothing', async (signal) => {
    const tmp = await mkdtemp(join(tmpdir(), 'simulator-main-'));
    const { child, url } = await start(tmp, '--leads', '400000');
    const { access_token: token } = (await (await post(`${url}/oauth/v2/token?grant_type=refresh_token&client_id=simulator&client_secret=simulator&refresh_token=simulator`)).json()) as { access_token: string };
    const created = await post(`${url}/crm/bulk/v8/read`, `Zoho-oauthtoken ${token}`, { query: { module: { api_name: 'Leads' } } });
    expect([created.status, readdirSync(tmp).length]).toEqual([201, 1]);
    child.kill(signal);
    const [code] = await once(child, 'exit');
    expect([code, readdirSync(tmp)]).toEqual([0, []]);
    await rm(tmp, { recursive: true });
  });

  test('takes virtual time', async () => {
    const { child, url } = await start(tmpdir(), '--driven-clock', '2026-01-31T12:00:00Z');
    expect(await (await fetch(`${url}/__simulator/clock`)).json()).toEqual({ nowMs: Date.UTC(2026, 0, 31, 12), driven: true });
    child.kill();
    await once(child, 'exit');
  });

  test('says which option is wrong', async () => {
    const child = spawn(process.execPath, [main, '--leads', 'many']);
    const [text] = (await once(child.stderr, 'data')) as [Buffer];
    expect(text.toString()).toContain('--leads');
    expect(await once(child, 'exit')).toEqual([1, null]);
  });
});
