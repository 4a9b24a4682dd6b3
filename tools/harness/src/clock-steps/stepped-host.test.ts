import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

import { expect, test } from 'vitest';

const HOUR = 3_600_000;

test('a process sees the wall clock that is set, its monotonic clock and given times stay', async () => {
  const dir = await mkdtemp(join(tmpdir(), 'lockstep-clock-'));
  try {
    const cwd = join(dir, 'scheduler');
    await mkdir(cwd);
    const step = join(dir, 'clocks');
    await mkdir(step);
    const readings = `const read = () => [Date.now(), new Date().getTime(), Date.parse(Date()), performance.now(), new Date(5).getTime(), new Date() instanceof Date];
      const before = read();
      require('node:fs').writeFileSync(process.env.STEPPED_CLOCK_DIR + '/scheduler', '${HOUR}');
      console.log(JSON.stringify([before, read()]))`;
    await writeFile(join(step, 'ingress'), String(-HOUR));
    const began = Date.now();
    const { stdout } = await promisify(execFile)(process.execPath, ['--import', join(import.meta.dirname, 'stepped-host.ts'), '--eval', readings], { cwd, env: { ...process.env, STEPPED_CLOCK_DIR: step } });
    const ended = Date.now();
    const [before, after] = JSON.parse(stdout) as [[number, number, number, number, number, boolean], [number, number, number, number, number, boolean]];
    const isAhead = ([now, constructed, called, , given, isDate]: typeof before, aheadMs: number): boolean =>
      [now, constructed, called + 999].every((ms) => ms >= began + aheadMs && ms <= ended + aheadMs + 999) && given === 5 && isDate;
    expect([isAhead(before, 0), isAhead(after, HOUR)]).toEqual([true, true]);
    expect(after[3] - before[3]).toBeLessThanOrEqual(ended - began + 1);
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
});
