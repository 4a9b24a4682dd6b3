/*
 * npm run mutate [-- text]: breaks a guarantee on purpose, in a copy of the checkout, and runs the tests that should notice; with a text, only those
 * of that name. A mutant that lives is a guarantee no test holds. Exit code 1 when one does.
 *
 * Three copies work at a time, as tests wait for half of theirs, on one Kafka and Postgres that are started once for all. Each project's tests have to pass without any mutant first.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { startStack } from '@lockstep/local-stack';

import { MutantCopy, staleChanges } from './mutant-copy.mjs';
import { mutants } from './mutants.mjs';

const COPIES = 3;
const only = process.argv[2] ?? '';
const chosen = mutants.filter(({ name, project }) => `${project}: ${name}`.includes(only));
const stale = staleChanges(chosen);
if (stale.length > 0) fail(`These mutants name a text that does not stand in its file exactly once; bring mutants.mjs up to date:\n${stale.join('\n')}`);
if (chosen.length === 0) fail(`no mutant has "${only}" in its project or name`);

const started = performance.now();
const stopping = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => stopping.abort());
const dataDir = mkdtempSync(join(tmpdir(), 'lockstep-mutate-'));
const copies = Array.from({ length: COPIES }, () => new MutantCopy(stopping.signal));
process.once('exit', () => {
  for (const copy of copies) copy.remove();
  rmSync(dataDir, { recursive: true, force: true });
});
const stack = await startStack({ dataDir, durable: false, log: (line) => process.stdout.write(`${line}\n`) });
try {
  process.exitCode = await run({ ...process.env, KAFKA_BROKERS: stack.kafkaBrokers.join(','), DATABASE_URL: stack.databaseUrl });
} finally {
  await stack.stop();
}
if (stopping.signal.aborted) process.exit(130);

/** @returns the exit code. */
async function run(env) {
  const broken = await inCopies(suites(), async (copy, suite) => {
    const { isCaught, output } = await copy.test(suite, [], env);
    return isCaught ? [`${output}\nThese tests of ${suite.project} fail without any mutant, so they would catch anything.\n`] : [];
  });
  if (stopping.signal.aborted) return 130;
  if (broken.length > 0) {
    process.stdout.write(broken.join('\n'));
    return 1;
  }
  const living = await inCopies(chosen, async (copy, { name, project, changes, ...suite }) => {
    const { isCaught, seconds } = await copy.test({ project, ...suite }, changes, env);
    if (!stopping.signal.aborted) process.stdout.write(`${isCaught ? 'caught' : 'LIVES '} ${seconds.toFixed(1).padStart(6)} s  ${project}: ${name}\n`);
    return isCaught ? [] : [name];
  });
  if (stopping.signal.aborted) return 130;
  process.stdout.write(`${chosen.length - living.length} of ${chosen.length} mutants were caught in ${((performance.now() - started) / 1000).toFixed(0)} s\n`);
  return living.length === 0 ? 0 : 1;
}

/** The tests of each project that some mutant names. */
function suites() {
  return [...Map.groupBy(chosen, ({ project }) => project)].map(([project, of]) => ({ project, tests: [...new Set(of.flatMap(({ tests }) => tests))] }));
}

/** Works off a list, one in each copy at a time. @returns what the work gave, together. */
async function inCopies(list, work) {
  const waiting = [...list];
  const results = await Promise.all(
    copies.map(async (copy) => {
      const found = [];
      for (let one = waiting.shift(); one !== undefined && !stopping.signal.aborted; one = waiting.shift()) found.push(...(await work(copy, one)));
      return found;
    }),
  );
  return results.flat();
}

function fail(message) {
  process.stderr.write(`${message}\n`);
  process.exit(1);
}
