/*
 * npm test: lint, types and every test of every project, on one real Kafka and Postgres that are started once for all.
 * Prints at last what failed, again, and the plain line "N passed, N failed". Lint and types are checked over the whole at once, which takes a
 * fifth of the time, and count as one test each.
 */
import { spawn } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
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

for (const project of projects()) rmSync(join(project, 'test-results.json'), { force: true });

const stack = await startStack({ dataDir, durable: false, log: (line) => process.stdout.write(`${line}\n`) });
try {
  const environment = { ...process.env, KAFKA_BROKERS: stack.kafkaBrokers.join(','), DATABASE_URL: stack.databaseUrl, NX_TUI: 'false' };
  // Lint asks Nx's graph of the projects for their boundaries, and without it would say nothing of them.
  const graph = await command('nx', ['graph', '--print'], environment, 'ignore');
  count('lint', graph || await command('oxlint', ['--type-aware', '--deny-warnings', '-c', '.oxlintrc.json', '.'], environment));
  count('types', await command('tsc', ['-p', 'tsconfig.json'], environment));
  const code = await command('nx', ['run-many', '-t', 'test', '--parallel=1', '--skip-nx-cache', '--output-style=stream'], environment);
  const before = failures.length;
  for (const project of projects()) countTests(project);
  // A run that ended before its first test has no results to count.
  if (code !== 0 && failures.length === before) failures.push(`nx run-many -t test: ended with ${code}, and no test says why`);
} finally {
  await stack.stop();
  await removeStackData(dataDir);
}
if (run.isBrokenOff) process.exit(130);
for (const lines of failures) process.stdout.write(`\nFAILED ${lines}\n`);
process.stdout.write(`${passed} passed, ${failures.length} failed\n`);
process.exitCode = failures.length === 0 && passed > 0 ? 0 : 1;

function projects() {
  return ['apps', 'packages', 'tools'].flatMap((folder) => readdirSync(join(root, folder)).map((name) => join(root, folder, name)));
}

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

function countTests(project) {
  let report;
  try {
    report = JSON.parse(readFileSync(join(project, 'test-results.json'), 'utf8'));
  } catch {
    return;
  }
  const failed = report.testResults.flatMap((file) => failuresOf(file).map((lines) => `${relative(root, file.name)}: ${lines}`));
  // An error outside of any test fails the run, and is in no file's results.
  if (failed.length === 0 && !report.success) failed.push(`${relative(root, project)}: an error outside of its tests`);
  failures.push(...failed);
  passed += report.numPassedTests;
}

/** A file that could not be read has a message instead of tests. */
function failuresOf({ assertionResults, status, message }) {
  const failed = assertionResults.filter((one) => one.status === 'failed');
  if (failed.length === 0 && status === 'failed') return [message];
  return failed.map(({ fullName, failureMessages }) => `${fullName}\n${failureMessages.join('\n')}`);
}
