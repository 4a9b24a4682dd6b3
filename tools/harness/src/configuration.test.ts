import { spawnSync } from 'node:child_process';
import { join } from 'node:path';

import { describe, expect, test } from 'vitest';

import { checkoutDir } from './paths.ts';

/** Starts an app with nothing but these variables, which is not enough for it. */
const start = (app: string, env: NodeJS.ProcessEnv): ReturnType<typeof spawnSync> => spawnSync(process.execPath, [join(checkoutDir, 'apps', app, 'src/main.ts')], { env, encoding: 'utf8', timeout: 60_000 });

describe('an app whose configuration is not complete', { timeout: 60_000 }, () => {
  test.for([
    ['projector', ['DATABASE_URL', 'KAFKA_BROKERS']],
    ['ingress', ['CRM_CLIENT_ID', 'CRM_CLIENT_SECRET', 'CRM_REFRESH_TOKEN', 'DATABASE_URL', 'KAFKA_BROKERS', 'LOCKSTEP_SECRET']],
    ['scheduler', ['CRM_CLIENT_ID', 'CRM_CLIENT_SECRET', 'CRM_REFRESH_TOKEN', 'DATABASE_URL', 'KAFKA_BROKERS', 'LOCKSTEP_PUBLIC_URL', 'LOCKSTEP_SECRET']],
    ['deals-won', ['DATABASE_URL', 'DEALS_WON_URL, DEALS_WON_NDJSON', 'KAFKA_BROKERS']],
    ['history', ['DATABASE_URL', 'KAFKA_BROKERS']],
  ] as const)('%s names all that is missing at once, without a stack trace, and ends with exit code 2', ([app, variables]) => {
    const { status, stderr, stdout } = start(app, {});
    const [title, ...problems] = String(stderr).trimEnd().split('\n');
    expect({ status, stdout, title, names: problems.map((line) => String(line.trim().split(':')[0])).toSorted() }).toEqual({ status: 2, stdout: '', title: 'The configuration is not complete:', names: variables });
  });

  test('a variable that is wrong is named with what is wrong', () => {
    const { status, stderr } = start('projector', { KAFKA_BROKERS: '127.0.0.1:1', DATABASE_URL: 'postgres://127.0.0.1:1/x', PROJECTOR_LANES: 'many' });
    expect([status, stderr]).toEqual([2, expect.stringMatching(/^The configuration is not complete:\n {2}PROJECTOR_LANES: .*number.*\(database connections that write at once, for each module\)\n$/)]);
  });
});
