import { GeneratorError } from './errors.mjs';

const KEBAB = /^[a-z][a-z0-9]*(?:-[a-z0-9]+)*$/;
// As `checkName` of packages/consumer has it.
const MAX_LENGTH = 40;
/** What would name environment variables, packages or schemas that mean something else. */
const RESERVED = ['lockstep', 'crm', 'database', 'source', 'node', 'npm', 'log', 'test', 'nx', 'apps', 'packages', 'tools', 'node-modules'];
const FOLDERS = ['apps', 'packages', 'tools'];

/**
 * Checks a consumer's name.
 * @throws {GeneratorError} saying what is wrong, and which name would do.
 */
export function checkName(tree, name) {
  if (typeof name !== 'string' || name === '') throw new GeneratorError('A consumer needs a name, e.g. invoice-feed', 'NAME_INVALID');
  if (!KEBAB.test(name)) {
    const other = kebabOf(name);
    throw new GeneratorError(`"${name}" is not kebab-case: lower-case letters and digits, words joined by hyphens, a letter first${KEBAB.test(other) ? `, e.g. ${other}` : ''}`, 'NAME_INVALID');
  }
  if (name.length > MAX_LENGTH) throw new GeneratorError(`"${name}" has ${name.length} characters; a consumer's name has at most ${MAX_LENGTH}, as it names a schema`, 'NAME_INVALID');
  if (RESERVED.includes(name)) throw new GeneratorError(`"${name}" is reserved; choose another name, e.g. ${name}-feed`, 'NAME_RESERVED');
  const folder = FOLDERS.find((one) => tree.exists(`${one}/${name}`));
  if (folder !== undefined) throw new GeneratorError(`"${name}" is taken: ${folder}/${name} is there already. Choose another name`, 'NAME_TAKEN');
}

/** `InvoiceFeed` and `invoice_feed` as `invoice-feed`. */
const kebabOf = (name) => name.replaceAll(/([a-z0-9])([A-Z])/g, '$1-$2').replaceAll(/[^A-Za-z0-9]+/g, '-').replaceAll(/^-+|-+$/g, '').toLowerCase();

/**
 * A module that a person names by API name or slug, in any case, with hyphens, underscores or blanks.
 * @returns its API name and slug.
 * @throws {GeneratorError} naming those there are.
 */
export function moduleNamed(tree, name) {
  const modules = definedModules(tree);
  const found = modules.find(({ apiName, slug }) => [apiName, slug].map(plain).includes(plain(String(name ?? ''))));
  if (found === undefined) throw new GeneratorError(`"${name}" is no module; there are ${modules.map(({ apiName }) => apiName).join(', ')}. A module is a file in packages/modules/src, and a line in its registry.ts`, 'MODULE_UNKNOWN');
  return found;
}

const plain = (name) => name.toLowerCase().replaceAll(/[-_ ]/g, '');

/** Read from the text, as this may run on a Node that does not know TypeScript. */
function definedModules(tree) {
  const folder = 'packages/modules/src';
  const registry = tree.read(`${folder}/registry.ts`, 'utf-8') ?? '';
  const files = tree.children(folder).filter((file) => file.endsWith('.ts') && !file.endsWith('.test.ts'));
  return files.flatMap((file) => {
    const text = tree.read(`${folder}/${file}`, 'utf-8') ?? '';
    const [, constant] = /export const (\w+) = defineModule\(/.exec(text) ?? [];
    const [, apiName] = /\bapiName: ['"]([^'"]+)['"]/.exec(text) ?? [];
    const [, slug] = /\bslug: ['"]([^'"]+)['"]/.exec(text) ?? [];
    return constant !== undefined && apiName !== undefined && slug !== undefined && new RegExp(`\\b${constant}\\b`).test(registry) ? [{ apiName, slug }] : [];
  });
}
