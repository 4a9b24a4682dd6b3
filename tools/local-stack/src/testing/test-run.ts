import { provideTestStack } from '../test-stack.ts';

/** A test run in small, in the folder that it is given: provides Postgres; with the argument `end` it ends as it should, else it waits to be killed. */
const end = await provideTestStack(['postgres'], process.argv[2]);
process.stdout.write(`${process.env['DATABASE_URL']}\n`);
if (process.argv[3] === 'end') await end();
