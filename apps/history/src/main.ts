import { runConsumer } from '@lockstep/consumer';
import { configured } from '@lockstep/telemetry';

import { loadConfig } from './config.ts';
import { history } from './history.ts';

await runConsumer(history(await configured(() => loadConfig(process.env))));
