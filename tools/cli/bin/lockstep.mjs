#!/usr/bin/env node
/* Hands over to the workspace's own Node, which runs TypeScript: the Node that npx found may be an older one. */
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const here = dirname(fileURLToPath(import.meta.url));
const own = join(here, '../../../node_modules/node/bin/node');
const flags = ['--max-semi-space-size=16', '--max-old-space-size=1024'];
const child = spawn(existsSync(own) ? own : process.execPath, [...flags, join(here, '../src/main.ts'), ...process.argv.slice(2)], { stdio: 'inherit', env: { MALLOC_ARENA_MAX: '2', ...process.env } });
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => child.kill(signal));
child.once('exit', (code, signal) => process.exit(code ?? (signal === 'SIGINT' ? 130 : 1)));
