import { provideTestStack } from '../test-stack.ts';

/** A test run in small: provides Postgres; with the argument `end` it ends as it should, else it waits to be killed. */
const end = await provideTestStack(['postgres']);
process.stdout.write(`${process.env['DATABASE_URL']}\n`);
if (process.argv[2] === 'end') await end();
