/*
 * npm run mutate: breaks a guarantee on purpose, in a copy of the checkout, and runs the tests that should notice. A mutant that
 * lives is a guarantee nobody tests. Exit code 1 when one does.
 */
import { spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, realpathSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { mutants } from './mutants.mjs';

const root = join(dirname(fileURLToPath(import.meta.url)), '../../..');
const copy = mkdtempSync(join(root, '.lockstep-mutants-'));
process.once('exit', () => rmSync(copy, { recursive: true, force: true }));
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => process.exit(130));

copyCheckout();
let living = 0;
const sound = new Set();
for (const mutant of mutants) {
  const { project, tests } = mutant;
  const suite = [project, ...tests].join(' ');
  // Tests that fail by themselves would catch anything.
  if (!sound.has(suite) && !passes({ ...mutant, changes: [] })) throw new Error(`${suite} fails without any mutant`);
  sound.add(suite);
  const isCaught = !passes(mutant);
  if (!isCaught) living += 1;
  process.stdout.write(`${isCaught ? 'caught' : 'LIVES '}  ${mutant.name}\n`);
}
process.stdout.write(`${mutants.length - living} of ${mutants.length} mutants were caught\n`);
process.exitCode = living === 0 ? 0 : 1;

/** Sources are copied, packages from elsewhere are linked, and our own resolve to the copy. */
function copyCheckout() {
  for (const entry of ['packages', 'tools', 'apps', 'vitest.config.ts', 'tsconfig.base.json', 'package.json']) {
    cpSync(join(root, entry), join(copy, entry), { recursive: true, filter: (path) => !/[\\/](?:node_modules|dist)$/.test(path) });
  }
  mkdirSync(join(copy, 'node_modules/@lockstep'), { recursive: true });
  const modules = join(root, 'node_modules');
  for (const name of readdirSync(modules)) if (name !== '@lockstep') symlinkSync(realpathSync(join(modules, name)), join(copy, 'node_modules', name));
  for (const folder of ['packages', 'tools', 'apps']) {
    for (const name of readdirSync(join(copy, folder))) {
      symlinkSync(join(copy, folder, name), join(copy, 'node_modules/@lockstep', name));
      const own = join(root, folder, name, 'node_modules');
      try {
        symlinkSync(realpathSync(own), join(copy, folder, name, 'node_modules'));
      } catch {
        // Most projects have none of their own.
      }
    }
  }
}

/** Whether the tests that should notice pass all the same. */
function passes({ name, changes, project, tests }) {
  for (const { file, from, to } of changes) {
    const source = readFileSync(join(copy, file), 'utf8');
    if (source.split(from).length !== 2) throw new Error(`mutant "${name}": ${file} does not hold its text exactly once; bring mutants.mjs up to date`);
    writeFileSync(join(copy, file), source.replace(from, () => to));
  }
  try {
    const { status } = spawnSync(process.execPath, [join(copy, 'node_modules/vitest/vitest.mjs'), 'run', '--config', join(copy, 'vitest.config.ts'), '--root', '.', ...tests], { cwd: join(copy, project), stdio: 'ignore' });
    return status === 0;
  } finally {
    for (const { file } of changes) cpSync(join(root, file), join(copy, file));
  }
}
