import { type MessagePort, parentPort, workerData } from 'node:worker_threads';

import { liveCreditDay } from './credit-day.ts';
import type { CreditCell, CreditOutcome } from './credit-table.ts';

/* Lives the cells it is given, one after another, and reports each. */
const port = parentPort as MessagePort;
const { cells, seed } = workerData as { cells: readonly CreditCell[]; seed: number };
for (const cell of cells) {
  const outcome: CreditOutcome = { ...cell, result: await liveCreditDay({ seed, ...cell }) };
  port.postMessage(outcome, []);
}
