import { runConsumer } from '@lockstep/consumer';

import { loadConfig } from './config.ts';
import { history } from './history.ts';

await runConsumer(history(loadConfig(process.env)));
