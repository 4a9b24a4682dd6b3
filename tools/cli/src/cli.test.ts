import { spawnSync } from 'node:child_process';
import { tmpdir } from 'node:os';
import { fileURLToPath } from 'node:url';

import { expect, test } from 'vitest';

const main = fileURLToPath(new URL('main.ts', import.meta.url));
const nowhere = { KAFKA_BROKERS: '127.0.0.1:1', DATABASE_URL: 'postgres://nobody@127.0.0.1:1/nothing', LOCKSTEP_SCHEDULER_URL: 'http://127.0.0.1:1' };

function run(...args: string[]): { readonly code: number | null; readonly out: string; readonly err: string } {
  const { status: code, stdout: out, stderr: err } = spawnSync(process.execPath, [main, ...args], { encoding: 'utf8', cwd: tmpdir(), env: { PATH: process.env['PATH'], ...nowhere } });
  return { code, out, err };
}

test('the help says what the exit codes mean', () => {
  expect(run('--help')).toMatchObject({ code: 0, out: expect.stringMatching(/Exit codes:\n {2}0 {2}done[^]*1 {2}something differs[^]*2 {2}it cannot be done so/) as unknown });
});

test.each([
  [['plan'], /missing required argument 'module'/],
  [['frobnicate'], /unknown command 'frobnicate'/],
  [['explain', 'Leads', 'abc'], /not a record id: it has up to 19 digits/],
  [['wait', 'Leads', '17', '--modified', 'yesterday'], /not a time such as 2026-03-02T10:05:00Z/],
  [['resync', 'Leads'], /missing required argument 'id'/],
  [['completion', 'powershell'], /Allowed choices are bash, zsh, fish/],
  [['pause', 'Accounts'], /"Accounts" is no module; there are Leads, Deals, Products/],
])('%j cannot be done so: exit code 2, and what to do', (args, text) => {
  expect(run(...args)).toEqual({ code: 2, out: '', err: expect.stringMatching(text) as unknown });
});

test('a database that does not answer is named with the variable that names it', () => {
  expect(run('pause', 'Leads')).toMatchObject({ code: 2, err: expect.stringContaining('DATABASE_URL') as unknown });
});

test.each(['zsh', 'fish'])('the completion of %s knows commands, options and modules', (shell) => {
  const { code, out } = run('completion', shell);
  expect(code).toBe(0);
  for (const word of ['plan', 'history', 'as-of', 'Leads']) expect(out).toContain(word);
});

test('bash completes by the words before', () => {
  const { out: script } = run('completion', 'bash');
  const complete = (...words: string[]): string[] => {
    const asked = `${script}\nCOMP_WORDS=(${words.map((word) => `'${word}'`).join(' ')}); COMP_CWORD=${words.length - 1}; _lockstep; printf '%s\\n' "\${COMPREPLY[@]}"`;
    return spawnSync('bash', ['-c', asked], { encoding: 'utf8' }).stdout.trim().split('\n');
  };
  expect(complete('lockstep', 're')).toEqual(['refresh', 'release', 'rebuild', 'replay', 'resync', 'resume']);
  expect(complete('lockstep', 'plan', 'L')).toEqual(['Leads']);
  expect(complete('lockstep', 'rebuild', 'Deals', 'L')).toEqual(['Leads']);
  expect(complete('lockstep', 'crm', 'edit', '--j')).toEqual(['--json']);
});
