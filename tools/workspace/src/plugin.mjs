import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';

/** Nx inference plugin: gives each project typecheck, test, lint, build and serve from what its folder holds. */
export const name = '@lockstep/workspace';

export const createNodesV2 = [
  '{apps,packages,tools}/*/package.json',
  (files, _options, context) =>
    files.map((file) => {
      const root = dirname(file);
      return [file, { projects: { [root]: { root, targets: targetsOf(root, context.workspaceRoot) } } }];
    }),
];

function targetsOf(root, workspaceRoot) {
  const has = (path) => existsSync(join(workspaceRoot, root, path));
  const run = (command, { env = {}, ...more } = {}) => ({ executor: 'nx:run-commands', options: { command, cwd: root, env }, ...more });
  const targets = {};
  if (has('tsconfig.json')) {
    targets.typecheck = run('tsc -p tsconfig.json');
    targets.lint = run('oxlint --type-aware --deny-warnings -c ../../.oxlintrc.json .');
    targets.test = run('vitest run --config ../../vitest.config.ts --root . --passWithNoTests');
  }
  if (has('src/main.ts') && root.startsWith('apps/')) {
    targets.build = run('node ../../tools/workspace/src/bundle.mjs src/main.ts dist/main.mjs');
    targets.serve = run('node --max-semi-space-size=16 --max-old-space-size=1024 --watch --watch-preserve-output src/main.ts', { continuous: true, env: { MALLOC_ARENA_MAX: '2' } });
  }
  return targets;
}
