import { type MessagePort, parentPort, workerData } from 'node:worker_threads';

import { simulate, type Simulated } from './simulate.ts';

/** What became of a seed. */
export type Outcome = { readonly seed: number; readonly simulated: Simulated | null; readonly problem: string | null };

/* Lives the seeds it is given, one after another, and reports each. */
const port = parentPort as MessagePort;
const { seeds } = workerData as { seeds: readonly number[] };
for (const seed of seeds) {
  const outcome: Outcome = await simulate(seed).then(
    (simulated) => ({ seed, simulated, problem: null }),
    (error: unknown) => ({ seed, simulated: null, problem: error instanceof Error ? (error.name === 'Violation' ? error.message : (error.stack ?? error.message)) : String(error) }),
  );
  port.postMessage(outcome, []);
}
