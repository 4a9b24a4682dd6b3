import { spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { afterAll, beforeAll, describe, expect, test } from 'vitest';

type Options = { readonly name: string; readonly module: string; readonly effect?: string; readonly port?: number };
const { generateConsumer } = (await import(new URL('generate.mjs', import.meta.url).href)) as { generateConsumer: (tree: Tree, options: Options) => () => void };

const root = fileURLToPath(new URL('../../../..', import.meta.url));

/** Reads the checkout, and writes into a folder elsewhere. */
class Tree {
  readonly folder: string;
  constructor(folder: string) {
    this.folder = folder;
  }
  #place(path: string): string {
    return existsSync(join(this.folder, path)) ? join(this.folder, path) : join(root, path);
  }
  exists(path: string): boolean {
    return existsSync(this.#place(path));
  }
  children(path: string): string[] {
    return readdirSync(this.#place(path));
  }
  read(path: string, encoding: 'utf-8'): string | null {
    return this.exists(path) ? readFileSync(this.#place(path), encoding) : null;
  }
  write(path: string, text: string): void {
    mkdirSync(dirname(join(this.folder, path)), { recursive: true });
    writeFileSync(join(this.folder, path), text);
  }
}

let tree: Tree;
beforeAll(() => {
  tree = new Tree(mkdtempSync(join(tmpdir(), 'lockstep-generated-')));
  mkdirSync(join(tree.folder, 'tools/workspace/src'), { recursive: true });
  for (const file of ['tsconfig.base.json', 'vitest.config.ts', 'package.json', '.oxlintrc.json', 'tools/workspace/src/random-tests.ts']) copyFileSync(join(root, file), join(tree.folder, file));
  symlinkSync(join(root, 'node_modules'), join(tree.folder, 'node_modules'));
});
afterAll(() => rmSync(tree.folder, { recursive: true, force: true }));

/** Runs a program of the workspace's packages on what was generated. @returns its exit code, and what it printed where that is not 0. */
function run(program: string, args: readonly string[]): { readonly status: number | null; readonly output: string } {
  const { status, stdout, stderr } = spawnSync(process.execPath, [join(root, 'node_modules/.bin', program), ...args], { cwd: tree.folder, encoding: 'utf8', env: { ...process.env, VITEST: undefined, VITEST_WORKER_ID: undefined, VITEST_POOL_ID: undefined } });
  return { status, output: status === 0 ? '' : stdout + stderr };
}

const randomName = (): string => `made-${randomBytes(3).toString('hex')}-2`;

describe('a generated consumer', () => {
  const apps = [{ name: `${randomName()}a`, module: 'Deals' }, { name: `${randomName()}b`, module: 'products', effect: 'http', port: 8091 }];
  beforeAll(() => {
    for (const options of apps) generateConsumer(tree, options);
  });

  test('passes types, lint and its own tests as it was generated', { timeout: 300_000 }, () => {
    for (const { name } of apps) expect(run('tsc', ['-p', `apps/${name}/tsconfig.json`])).toEqual({ status: 0, output: '' });
    expect(run('oxlint', ['--type-aware', '--deny-warnings', '-c', '.oxlintrc.json', 'apps'])).toEqual({ status: 0, output: '' });
    expect(run('vitest', ['run', '--config', 'vitest.config.ts'])).toEqual({ status: 0, output: '' });
    const report = JSON.parse(readFileSync(join(tree.folder, 'test-results.json'), 'utf8')) as { numPassedTests: number };
    expect(report.numPassedTests).toBe(7);
  });

  test('is in the lock file as npm would write it, and leaves nothing unfilled', () => {
    const lock = JSON.parse(tree.read('package-lock.json', 'utf-8') ?? '') as { packages: Record<string, unknown> };
    for (const { name } of apps) expect(lock.packages[`node_modules/@lockstep/${name}`]).toEqual({ resolved: `apps/${name}`, link: true });
    const before = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8')) as { packages: Record<string, unknown> };
    expect(Object.keys(lock.packages).filter((path) => path in before.packages)).toEqual(Object.keys(before.packages));
    for (const { name } of apps) {
      const files = readdirSync(join(tree.folder, 'apps', name), { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
      for (const file of files) expect(readFileSync(join(file.parentPath, file.name), 'utf8')).not.toMatch(/\{\{|undefined_/);
    }
  });
});

describe('the generator refuses', () => {
  test.each([
    ['InvoiceFeed', 'Deals', /"InvoiceFeed" is not kebab-case: .*, e\.g\. invoice-feed$/],
    ['invoice_feed', 'Deals', /"invoice_feed" is not kebab-case: .*, e\.g\. invoice-feed$/],
    ['2-leads', 'Deals', /"2-leads" is not kebab-case/],
    ['a'.repeat(41), 'Deals', /has 41 characters; a consumer's name has at most 40/],
    ['lockstep', 'Deals', /"lockstep" is reserved; choose another name, e\.g\. lockstep-feed/],
    ['projector', 'Deals', /"projector" is taken: apps\/projector is there already/],
    ['kafka', 'Deals', /"kafka" is taken: packages\/kafka is there already/],
    ['invoice-feed', 'Contacts', /"Contacts" is no module; there are Deals, Leads, Products/],
  ])('%s for %s', (name, module, message) => {
    expect(() => generateConsumer(tree, { name, module })).toThrow(message);
    expect(existsSync(join(tree.folder, 'apps', name))).toBe(false);
  });
});

test('a module may be named in any case, and with a hyphen', () => {
  class Other extends Tree {
    override read(path: string, encoding: 'utf-8'): string | null {
      if (path.endsWith('registry.ts')) return 'export const modules = [salesOrders];';
      return path.endsWith('leads.ts') ? `export const salesOrders = defineModule({\n  apiName: 'Sales-Orders',\n  slug: 'sales_orders',\n` : super.read(path, encoding);
    }
  }
  const other = new Other(mkdtempSync(join(tree.folder, 'other-')));
  for (const module of ['Sales-Orders', 'sales_orders', 'SALES ORDERS']) generateConsumer(other, { name: `orders-${module.length}${module.charCodeAt(0)}${module.charCodeAt(5)}`, module });
  const handlers = readdirSync(join(other.folder, 'apps')).map((app) => readFileSync(join(other.folder, 'apps', app, 'src/handler.ts'), 'utf8'));
  expect(handlers).toHaveLength(3);
  expect(handlers.every((text) => text.includes("findModule('Sales-Orders')"))).toBe(true);
});
