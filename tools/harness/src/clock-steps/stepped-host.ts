/*
 * Imported before an app (`node --import`), this lets the wall clock of its host be set while it runs, for tests. It adds to `Date` the milliseconds
 * that stand in the file `<app>` of the folder `STEPPED_CLOCK_DIR`; the app is known by its working directory. The file is read with each reading of
 * the clock, so a step is in force once the file is written. Timers and `performance.now()` are monotonic and stay as they are.
 */
import { readFileSync } from 'node:fs';
import { basename, join } from 'node:path';

const file = join(process.env['STEPPED_CLOCK_DIR'] ?? '', basename(process.cwd()));
const RealDate = Date;
const realNow = Date.now.bind(Date);

function aheadMs(): number {
  try {
    return Number(readFileSync(file, 'utf8'));
  } catch {
    return 0; // Not set yet.
  }
}

const steppedNow = (): number => realNow() + aheadMs();

RealDate.now = steppedNow;
globalThis.Date = new Proxy(RealDate, {
  construct: (target, given: unknown[], newTarget) => Reflect.construct(target, given.length === 0 ? [steppedNow()] : given, newTarget) as Date,
  apply: () => new RealDate(steppedNow()).toString(),
});
