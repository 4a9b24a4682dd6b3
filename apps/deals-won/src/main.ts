import { runConsumer } from '@lockstep/consumer';
import { configured } from '@lockstep/telemetry';

import { loadConfig } from './config.ts';
import { dealsWon } from './deals-won.ts';

await runConsumer(dealsWon(await configured(() => loadConfig(process.env))));
