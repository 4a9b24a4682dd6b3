/** Of the time that work in the background takes, it leaves so many times as much to others. */
const REST = 3;

/** A pause to be made after each step of some work, three times as long as the step took. */
export function restingFor(sleep: (ms: number) => Promise<void>): () => Promise<void> {
  let since = performance.now();
  return async () => {
    await sleep(REST * (performance.now() - since));
    since = performance.now();
  };
}
