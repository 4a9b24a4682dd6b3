import { startStack } from '../stack.ts';

/** A process that starts a stack on the folder it is given, says so, and waits to be killed. */
await startStack({ dataDir: process.argv[2] ?? '', durable: false });
process.stdout.write('ready\n');
