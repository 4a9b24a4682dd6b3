import { spawn } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, realpathSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '../../..');
const folders = ['packages', 'tools', 'apps'];
/** Tests that have not ended by then hang: a mutant may make them wait for what never comes. */
const HUNG_AFTER_MS = 300_000;

/** The changes of these mutants whose text does not stand in its file exactly once, each as a line for people. */
export function staleChanges(mutants) {
  return mutants.flatMap(({ name, changes }) => changes.filter(({ file, from }) => occurrences(file, from) !== 1).map(({ file, from }) => `"${name}": ${file} has ${occurrences(file, from)} times: ${from}`));
}

function occurrences(file, text) {
  const path = join(root, file);
  return existsSync(path) ? readFileSync(path, 'utf8').split(text).length - 1 : 0;
}

function killGroup(pid) {
  try {
    if (pid !== undefined) process.kill(-pid, 'SIGKILL');
  } catch (error) {
    // It may have ended just now.
    if (error.code !== 'ESRCH') throw error;
  }
}

/** A copy of the checkout in which mutants are tested. Sources are copied, packages from elsewhere are linked, and our own resolve to the copy. */
export class MutantCopy {
  #path = mkdtempSync(join(root, '.lockstep-mutants-'));
  #signal;

  /** @param signal ends the tests that run. */
  constructor(signal) {
    this.#signal = signal;
    for (const entry of [...folders, 'vitest.config.ts', 'tsconfig.base.json', 'package.json']) {
      cpSync(join(root, entry), join(this.#path, entry), { recursive: true, filter: (path) => !/[\\/](?:node_modules|dist)$/.test(path) });
    }
    this.#linkPackages();
  }

  /** Tests with these changes made; `mostMs` is for those that wait in vain for what no longer comes. @returns whether a test failed, what was printed, and how long that took. */
  async test({ project, tests, testName, mostMs }, changes, env) {
    for (const { file, from, to } of changes) {
      const path = join(this.#path, file);
      writeFileSync(path, readFileSync(path, 'utf8').replace(from, () => to));
    }
    const started = performance.now();
    const selection = [...(testName === undefined ? [] : ['--testNamePattern', testName]), ...tests];
    const { code, output } = await this.#vitest(project, selection, mostMs === undefined ? env : { ...env, LOCKSTEP_TEST_MOST_MS: String(mostMs) });
    for (const { file } of changes) cpSync(join(root, file), join(this.#path, file));
    return { isCaught: code !== 0, output, seconds: (performance.now() - started) / 1000 };
  }

  remove() {
    rmSync(this.#path, { recursive: true, force: true });
  }

  #linkPackages() {
    const [from, to] = [join(root, 'node_modules'), join(this.#path, 'node_modules')];
    mkdirSync(join(to, '@lockstep'), { recursive: true });
    for (const name of readdirSync(from)) if (name !== '@lockstep') symlinkSync(realpathSync(join(from, name)), join(to, name));
    for (const folder of folders) {
      for (const name of readdirSync(join(this.#path, folder))) {
        symlinkSync(join(this.#path, folder, name), join(to, '@lockstep', name));
        const own = join(root, folder, name, 'node_modules');
        // Most projects have none of their own.
        if (existsSync(own)) symlinkSync(realpathSync(own), join(this.#path, folder, name, 'node_modules'));
      }
    }
  }

  /** @returns its exit code and what it printed. */
  async #vitest(project, selection, env) {
    const args = [join(this.#path, 'node_modules/vitest/vitest.mjs'), 'run', '--config', join(this.#path, 'vitest.config.ts'), '--root', '.', '--bail', '1', '--maxWorkers', '1', '--reporter', 'dot', ...selection];
    // A group of its own, so that its workers end with it.
    const child = spawn(process.execPath, args, { cwd: join(this.#path, project), env, stdio: ['ignore', 'pipe', 'pipe'], detached: true });
    let output = '';
    for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', (text) => (output += text));
    const ended = new Promise((resolve) => child.once('close', resolve));
    const kill = () => killGroup(child.pid);
    const timer = setTimeout(kill, HUNG_AFTER_MS);
    this.#signal.addEventListener('abort', kill);
    try {
      return { code: await ended, output };
    } finally {
      clearTimeout(timer);
      this.#signal.removeEventListener('abort', kill);
    }
  }
}
