import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { lockApp } from './lock-file.mjs';
import { checkName, moduleNamed } from './names.mjs';

const templates = fileURLToPath(new URL('files', import.meta.url));
const EFFECTS = ['table', 'http'];

/**
 * Writes an app that consumes a module's record topic. Templates lie in `files`: what begins with an effect's name, e.g. `table.`, is for that effect only.
 * @param tree Nx's tree, or anything with its `exists`, `children`, `read` and `write`.
 * @returns prints what to do next, once the files are written.
 * @throws {GeneratorError} for a name or module that will not do; nothing is written.
 */
export function generateConsumer(tree, { name, module, effect = 'table', port = 8090 }) {
  checkName(tree, name);
  const { apiName, slug } = moduleNamed(tree, module);
  const words = { name, module: apiName, slug, port: String(port), schema: `consumer_${name.replaceAll('-', '_')}`, prefix: name.toUpperCase().replaceAll('-', '_') };
  for (const { from, to } of filesFor(effect)) tree.write(`apps/${name}/${to}`, fill(readFileSync(join(templates, from), 'utf8'), words));
  lockApp(tree, name, JSON.parse(tree.read(`apps/${name}/package.json`, 'utf-8')));
  return () => void process.stdout.write(nextSteps(words));
}

/** The templates of an effect, and where each goes. */
function filesFor(effect) {
  const others = EFFECTS.filter((one) => one !== effect).map((one) => `${one}.`);
  return readdirSync(templates, { recursive: true }).map(String).filter((file) => file.endsWith('.template')).flatMap((from) => {
    const parts = from.replaceAll('\\', '/').split('/');
    const file = parts.pop();
    if (others.some((other) => file.startsWith(other))) return [];
    return [{ from, to: [...parts, file.replace(`${effect}.`, '').replace(/\.template$/, '')].join('/') }];
  });
}

const fill = (text, words) => text.replaceAll(/\{\{(\w+)\}\}/g, (_, word) => words[word]);

const nextSteps = ({ name, module }) => `
apps/${name} consumes ${module}. What it does with a change is in src/handler.ts.
  npx nx run-many -t lint,typecheck,test -p ${name}
  npx nx serve ${name}
`;
