/*
 * npm test: lint, types and every test of every project, on one real Kafka and Postgres that are started once for all.
 * Prints at last what failed, again, and the plain line "N passed, N failed". Lint, types and tests are taken over the whole at once, which spares
 * starting each once a project; lint and types count as one test each.
 */
import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';

import { removeStackData, startStack } from '@lockstep/local-stack';

const root = join(dirname(fileURLToPath(import.meta.url)), '../../..');
const dataDir = mkdtempSync(join(tmpdir(), 'lockstep-test-'));
/** How many passed, and what each failure printed: thousands of others' lines lie between it and the end. */
let passed = 0;
const failures = [];
/** The child that runs now, and whether it was interrupted. */
const run = { child: undefined, isBrokenOff: false };

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) {
  process.on(signal, () => {
    run.isBrokenOff = true;
    run.child?.kill('SIGTERM');
  });
}

const stack = await startStack({ dataDir, durable: false, log: (line) => process.stdout.write(`${line}\n`) });
try {
  const environment = { ...process.env, KAFKA_BROKERS: stack.kafkaBrokers.join(','), DATABASE_URL: stack.databaseUrl, NX_TUI: 'false' };
  // Lint asks Nx's graph of the projects for their boundaries, and without it would say nothing of them.
  const graph = await command('nx', ['graph', '--print'], environment, 'ignore');
  count('lint', graph || await command('oxlint', ['--type-aware', '--deny-warnings', '-c', '.oxlintrc.json', '.'], environment));
  count('types', await command('tsc', ['-p', 'tsconfig.json'], environment));
  await test(['unit', 'library', 'pg', 'kafka'], environment);
  // The end-to-end tests have stacks of their own, which would stand idle until now.
  await test(['e2e'], environment);
} finally {
  await stack.stop();
  await removeStackData(dataDir);
}
if (run.isBrokenOff) process.exit(130);
for (const lines of failures) process.stdout.write(`\nFAILED ${lines}\n`);
process.stdout.write(`${passed} passed, ${failures.length} failed\n`);
process.exitCode = failures.length === 0 && passed > 0 ? 0 : 1;

/** Runs a command of the workspace's packages. @returns its exit code. */
async function command(name, args, env, stdout = 'inherit') {
  if (run.isBrokenOff) return 130;
  const child = spawn(join(root, 'node_modules/.bin', name), args, { cwd: root, env, stdio: ['ignore', stdout, 'inherit'] });
  run.child = child;
  const code = await new Promise((resolve) => child.once('close', resolve));
  run.child = undefined;
  return code;
}

function count(name, code) {
  if (code === 0) passed += 1;
  else failures.push(name);
}

/** Runs the tests of these kinds, of every project, and counts them. */
async function test(kinds, env) {
  const results = join(root, 'test-results.json');
  rmSync(results, { force: true });
  const code = await command('vitest', ['run', ...kinds.flatMap((kind) => ['--project', kind])], env);
  const before = { passed, failed: failures.length };
  countTests(results);
  // A run that ended before its first test has no results to count; an error outside of any test fails it, and is in no file's results.
  const isSilent = failures.length === before.failed && (code !== 0 || passed === before.passed);
  if (isSilent) failures.push(`the tests that are ${kinds.join(', ')}: ended with ${code} and ${passed - before.passed} passed, and no test says why`);
}

function countTests(results) {
  let report;
  try {
    report = JSON.parse(readFileSync(results, 'utf8'));
  } catch {
    return;
  }
  failures.push(...report.testResults.flatMap((file) => failuresOf(file).map((lines) => `${relative(root, file.name)}: ${lines}`)));
  passed += report.numPassedTests;
}

/** A file that could not be read has a message instead of tests. */
function failuresOf({ assertionResults, status, message }) {
  const failed = assertionResults.filter((one) => one.status === 'failed');
  if (failed.length === 0 && status === 'failed') return [message];
  return failed.map(({ fullName, failureMessages }) => `${fullName}\n${failureMessages.join('\n')}`);
}
