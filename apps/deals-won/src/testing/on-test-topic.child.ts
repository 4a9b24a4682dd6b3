import { runConsumer } from '@lockstep/consumer';

import { loadConfig } from '../config.ts';
import { dealsWon } from '../deals-won.ts';

/* The process of `main.ts`, on the topic of a test. */
await runConsumer({ ...dealsWon(loadConfig(process.env)), topicOf: () => process.env['TEST_TOPIC'] as string, groupId: process.env['TEST_GROUP'] as string });
