import { runConsumer } from '@lockstep/consumer';

import { loadConfig } from './config.ts';
import { dealsWon } from './deals-won.ts';

await runConsumer(dealsWon(loadConfig(process.env)));
