/*
 * npm test: lint, types and every test of every project, on one real Kafka and Postgres that are started once for all.
 * Prints what failed, and at last the plain line "N passed, N failed". Lint and types count as one test a project each.
 */
import { spawn } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { constants, setPriority, tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { startStack } from '@lockstep/local-stack';

const root = join(dirname(fileURLToPath(import.meta.url)), '../../..');
const dataDir = mkdtempSync(join(tmpdir(), 'lockstep-test-'));
const counts = { passed: 0, failed: 0 };
/** The Nx that run now, and whether somebody has broken off. */
const run = { nx: new Set(), isBrokenOff: false };

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) {
  process.on(signal, () => {
    run.isBrokenOff = true;
    for (const nx of run.nx) nx.kill('SIGTERM');
  });
}

for (const project of projects()) rmSync(join(project, 'test-results.json'), { force: true });

const stack = await startStack({ dataDir, durable: false, log: (line) => process.stdout.write(`${line}\n`) });
try {
  const environment = { ...process.env, KAFKA_BROKERS: stack.kafkaBrokers.join(','), DATABASE_URL: stack.databaseUrl, NX_TUI: 'false' };
  // Tests wait now and then; lint and types take what they leave.
  const checking = checks(environment);
  const { code } = await nx(['test', '--parallel=1', '--skip-nx-cache'], environment);
  await checking;
  const failed = projects().map(countTests).includes(true);
  // A run that ended before its first test has no results to count.
  if (code !== 0 && !failed) counts.failed += 1;
} finally {
  await stack.stop();
  rmSync(dataDir, { recursive: true, force: true });
}
if (run.isBrokenOff) process.exit(130);
process.stdout.write(`${counts.passed} passed, ${counts.failed} failed\n`);
process.exitCode = counts.failed === 0 && counts.passed > 0 ? 0 : 1;

function projects() {
  return ['apps', 'packages', 'tools'].flatMap((folder) => readdirSync(join(root, folder)).map((name) => join(root, folder, name)));
}

/** Lint and types, one task after another, when nobody else wants the processor. */
async function checks(env) {
  for (const target of ['lint', 'typecheck']) countTasks(target, await nx([target, '--parallel=1'], env, constants.priority.PRIORITY_LOW));
}

/** Runs Nx and shows what it prints. */
async function nx(args, env, priority = undefined) {
  if (run.isBrokenOff) return { code: 130, output: '' };
  const child = spawn(join(root, 'node_modules/.bin/nx'), ['run-many', '-t', ...args, '--output-style=stream'], { cwd: root, env, stdio: ['ignore', 'pipe', 'inherit'] });
  if (priority !== undefined) setPriority(child.pid, priority);
  run.nx.add(child);
  let output = '';
  child.stdout.on('data', (chunk) => {
    output += chunk;
    process.stdout.write(chunk);
  });
  const code = await new Promise((resolve) => child.once('close', resolve));
  run.nx.delete(child);
  return { code, output };
}

function countTasks(target, { code, output }) {
  const total = projects().filter((project) => hasTarget(project)).length;
  const failed = code === 0 ? 0 : Math.max(1, new Set([...output.matchAll(new RegExp(`^\\s*- @lockstep/([\\w-]+):${target}`, 'gm'))].map(([, name]) => name)).size);
  counts.passed += total - failed;
  counts.failed += failed;
}

function hasTarget(project) {
  try {
    return readFileSync(join(project, 'tsconfig.json')).length > 0;
  } catch {
    return false;
  }
}

/** @returns whether some of it failed */
function countTests(project) {
  let results;
  try {
    results = JSON.parse(readFileSync(join(project, 'test-results.json'), 'utf8'));
  } catch {
    return false;
  }
  const failed = results.numFailedTests + (results.numFailedTests === 0 && !results.success ? 1 : 0);
  counts.passed += results.numPassedTests;
  counts.failed += failed;
  return failed > 0;
}
