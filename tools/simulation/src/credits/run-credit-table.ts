import { Worker } from 'node:worker_threads';

import { type CreditCell, creditCells, type CreditOutcome, creditTable, faultOf } from './credit-table.ts';

/** Lives a day for each cell of the table, in so many threads, and prints it. @returns what is wrong, a line each. */
export async function runCreditTable({ seed, workers, say }: { readonly seed: number; readonly workers: number; readonly say: (line: string) => void }): Promise<readonly string[]> {
  const outcomes: CreditOutcome[] = [];
  // The busiest take longest, and begin first.
  const waiting = creditCells.toReversed();
  const work = async (): Promise<void> => {
    for (let cell = waiting.shift(); cell !== undefined; cell = waiting.shift()) {
      outcomes.push(await lived(cell, seed));
      say(`${outcomes.length} of ${creditCells.length} days`);
    }
  };
  await Promise.all(Array.from({ length: workers }, work));
  say(creditTable(outcomes));
  return outcomes.flatMap((outcome) => faultOf(outcome) ?? []);
}

const lived = (cell: CreditCell, seed: number): Promise<CreditOutcome> =>
  new Promise((resolve, reject) => {
    const worker = new Worker(new URL('./credit-worker.ts', import.meta.url), { workerData: { cells: [cell], seed } });
    worker.once('message', resolve);
    worker.once('error', reject);
    worker.once('exit', (code) => reject(new Error(`the thread of a day ended with ${code}`)));
  });
