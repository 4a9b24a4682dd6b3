import { setImmediate as nextTurn } from 'node:timers/promises';

const SLICE_MS = 4;

/** Lets the event loop have its turn every few milliseconds of a long loop. Call it for each item. */
export function slicer(everyItems = 64): () => Promise<void> | undefined {
  let items = 0;
  let started = performance.now();
  return () => {
    if (++items % everyItems !== 0 || performance.now() - started < SLICE_MS) return undefined;
    return turn();
  };

  async function turn(): Promise<void> {
    await nextTurn();
    started = performance.now();
  }
}
