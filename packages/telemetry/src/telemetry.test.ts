import { spawn } from 'node:child_process';

import fastify from 'fastify';
import { describe, expect, test } from 'vitest';
import { z } from 'zod';

import { healthRoutes } from './health.ts';
import { createLogger } from './logger.ts';
import { loop } from './loop.ts';
import { Counter, createMetrics } from './metrics.ts';
import { parseEnv } from './parse-env.ts';

const log = createLogger({ app: 'test', level: 'silent', isPretty: false });

describe('configuration', () => {
  const schema = z.object({ PORT: z.coerce.number().int().describe('port to listen on'), NAME: z.string().describe('a name') });

  test('is parsed to its types', () => {
    expect(parseEnv(schema, { PORT: '8080', NAME: 'x', OTHER: 'y' })).toEqual({ PORT: 8080, NAME: 'x' });
  });

  test('that is wrong names every variable at once, and what it is for', () => {
    expect(() => parseEnv(schema, { PORT: 'eighty' })).toThrow(/PORT: .*\(port to listen on\)\n {2}NAME: .*\(a name\)/);
  });
});

describe('health', () => {
  const appWith = (readiness: Record<string, () => Promise<void> | void>) => {
    const app = fastify();
    const metrics = createMetrics({ app: 'test' });
    new Counter({ name: 'things_total', help: 'Things', registers: [metrics] }).inc(3);
    healthRoutes(app, { metrics, readiness, liveness: { always: () => undefined }, timeLimitMs: 50 });
    return app;
  };

  test('is ready only when everything is, and says what is missing', async () => {
    const app = appWith({ kafka: () => Promise.reject(new Error('no broker answers')), postgres: () => undefined });
    const reply = await app.inject('/readyz');
    expect([reply.statusCode, reply.json()]).toEqual([503, { ok: false, checks: { kafka: 'no broker answers', postgres: 'ok' } }]);
    expect((await app.inject('/livez')).statusCode).toBe(200);
  });

  test('a check that does not answer counts as failed', async () => {
    const app = appWith({ kafka: () => new Promise(() => undefined) });
    expect((await app.inject('/readyz')).json()).toMatchObject({ checks: { kafka: 'no answer within 50 ms' } });
  });

  test('metrics carry the app', async () => {
    expect((await appWith({}).inject('/metrics')).body).toContain('things_total{app="test"} 3');
  });
});

describe('a loop', () => {
  test('never overlaps its body, and ends at once when aborted', async () => {
    const stopping = new AbortController();
    let inside = 0;
    let rounds = 0;
    await loop({
      name: 'test',
      everyMs: 1,
      signal: stopping.signal,
      log,
      body: async () => {
        expect(inside).toBe(0);
        inside += 1;
        await new Promise((resolve) => setImmediate(resolve));
        inside -= 1;
        rounds += 1;
        if (rounds === 5) stopping.abort();
      },
    });
    expect(rounds).toBe(5);
  });

  test('is called again at once while there is more to do, and woken early otherwise', async () => {
    const stopping = new AbortController();
    const more = [true, true, false, false];
    let rounds = 0;
    const started = performance.now();
    await loop({
      name: 'test',
      everyMs: 60_000,
      signal: stopping.signal,
      log,
      wake: () => Promise.resolve(),
      body: async () => {
        rounds += 1;
        if (rounds === 4) stopping.abort();
        return more[rounds - 1] ?? false;
      },
    });
    expect([rounds, performance.now() - started < 5_000]).toEqual([4, true]);
  });

  test('goes on after a failure', async () => {
    const stopping = new AbortController();
    let rounds = 0;
    await loop({
      name: 'test',
      everyMs: 1,
      maxBackOffMs: 2,
      signal: stopping.signal,
      log,
      body: async () => {
        rounds += 1;
        if (rounds === 3) stopping.abort();
        else throw new Error('not yet');
      },
    });
    expect(rounds).toBe(3);
  });
});

describe('a process', () => {
  const program = (start: string): string => `
    import { createLogger, runProcess } from ${JSON.stringify(new URL('index.ts', import.meta.url).href)};
    const log = createLogger({ app: 'test', level: 'silent', isPretty: false });
    const say = (word) => process.stdout.write(word + '\\n');
    await runProcess({ name: 'test', log, start: async (closers, fatal) => {
      closers.add('first', () => say('first closed'));
      closers.add('second', async () => say('second closed'));
      ${start}
    } });`;

  async function run(code: string, onOutput: (output: string, kill: (signal: NodeJS.Signals) => void) => void = () => undefined, env: NodeJS.ProcessEnv = {}): Promise<{ code: number | null; output: string }> {
    const child = spawn(process.execPath, ['--input-type=module-typescript', '-e', code], { stdio: ['ignore', 'pipe', 'ignore'], env: { ...process.env, ...env } });
    let output = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      output += text;
      onOutput(output, (signal) => void child.kill(signal));
    });
    const exit = await new Promise<number | null>((resolve) => {
      child.once('close', resolve);
    });
    return { code: exit, output };
  }

  test.each(['SIGTERM', 'SIGINT'] as const)('closes in reverse order at %s, and ends with 0', async (signal) => {
    const ended = await run(program("setInterval(() => undefined, 1000); say('ready');"), (output, kill) => {
      if (output.endsWith('ready\n')) kill(signal);
    });
    expect(ended).toEqual({ code: 0, output: 'ready\nsecond closed\nfirst closed\n' });
  });

  test.each([
    ['a start that fails', "throw new Error('no database');"],
    ['a fatal error from inside', "setInterval(() => undefined, 1000); fatal(new Error('stalled')); fatal(new Error('again'));"],
    ['an uncaught error', "setTimeout(() => { throw new Error('a defect'); }, 1);"],
  ])('%s closes everything and ends with 1', async (_, start) => {
    expect(await run(program(start))).toEqual({ code: 1, output: 'second closed\nfirst closed\n' });
  });

  test.each([
    [{}, ['1', '2', '3', 'end'], 0],
    [{ LOCKSTEP_CRASH_AT: 'page-published:2' }, ['1', '2'], null],
    [{ LOCKSTEP_CRASH_AT: 'look-published' }, ['1', '2', '3', 'end'], 0],
    [{ LOCKSTEP_CRASH_AT: 'page-publishd' }, [], 1],
  ])('with %o ends at the crash point that is armed, and nowhere else', async (env, said, code) => {
    const passing = `
      import { writeSync } from 'node:fs';
      import { crashPoint } from ${JSON.stringify(new URL('crash-point.ts', import.meta.url).href)};
      for (const n of [1, 2, 3]) { writeSync(1, n + ' '); crashPoint('page-published'); }
      writeSync(1, 'end ');`;
    expect(await run(passing, undefined, env)).toEqual({ code, output: said.map((word) => `${word} `).join('') });
  });

  test('never logs a secret', async () => {
    const { output } = await run(`
      import { createLogger } from ${JSON.stringify(new URL('index.ts', import.meta.url).href)};
      createLogger({ app: 'test', isPretty: false }).info({ token: 'abc', crm: { refreshToken: 'def', clientSecret: 'ghi' } }, 'said');`);
    expect(output).toContain('"msg":"said"');
    expect(output).not.toMatch(/abc|def|ghi/);
  });
});
