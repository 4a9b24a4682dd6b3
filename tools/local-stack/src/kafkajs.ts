import { createRequire } from 'node:module';

import type * as KafkaJs from 'kafkajs';

/**
 * The library as it stands, or as packages/kafka has patched it where that was loaded before. Node would find it when it links an import, before anything
 * runs, and end with an assertion where it has been patched by the time it runs.
 */
export const kafkajs = createRequire(import.meta.url)('kafkajs') as typeof KafkaJs;
