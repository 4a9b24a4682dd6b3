import { spawnSync } from 'node:child_process';
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { afterEach, expect, test } from 'vitest';

import { checkoutDir } from './paths.ts';

/* The lint that keeps the parts apart is itself tested: a violation is planted, found, and removed. */

const planted: string[] = [];
afterEach(() => {
  for (const file of planted.splice(0)) rmSync(file, { force: true });
});

function lintWith(project: string, name: string, code: string): { status: number | null; output: string } {
  const folder = join(checkoutDir, project);
  const file = join(folder, 'src', name);
  planted.push(file);
  writeFileSync(file, code);
  const { status, stdout, stderr } = spawnSync(process.execPath, [join(checkoutDir, 'node_modules/oxlint/bin/oxlint'), '-c', '../../.oxlintrc.json', `src/${name}`], { cwd: folder, encoding: 'utf8' });
  return { status, output: stdout + stderr };
}

test.each([
  ['the domain imports an adapter', 'packages/record-log', 'planted.ts', "import { createKafka } from '@lockstep/kafka';\nexport const planted = createKafka;\n", 'enforce-module-boundaries'],
  ['the domain imports the file system', 'packages/record-log', 'planted.ts', "import { readFileSync } from 'node:fs';\nexport const planted = readFileSync;\n", 'no-restricted-imports'],
  ['a package reaches into another one', 'packages/projection', 'planted.ts', "import { murmur2 } from '../../kafka/src/murmur2.ts';\nexport const planted = murmur2;\n", 'enforce-module-boundaries'],
  ['an app imports another app', 'apps/projector', 'planted.ts', "import { buildApp } from '../../ingress/src/app.ts';\nexport const planted = buildApp;\n", 'enforce-module-boundaries'],
  ['an app imports what is for tests', 'apps/ingress', 'planted.ts', "import { startSimulator } from '@lockstep/crm-simulator';\nexport const planted = startSimulator;\n", 'enforce-module-boundaries'],
  ['a package that is not declared is imported', 'packages/telemetry', 'planted.ts', "import pg from 'pg';\nexport const planted = pg;\n", 'enforce-module-boundaries'],
])('%s: the lint fails', (_, project, name, code, rule) => {
  const { status, output } = lintWith(project, name, code);
  expect(output).toContain(rule);
  expect(status).not.toBe(0);
});

test('what is for tests may be imported by a test', () => {
  const { output } = lintWith('apps/ingress', 'planted.test.ts', "import { startSimulator } from '@lockstep/crm-simulator';\nimport { expect, test } from 'vitest';\n\ntest('it is there', () => {\n  expect(startSimulator).toBeTypeOf('function');\n});\n");
  expect(output).not.toContain('enforce-module-boundaries');
});
