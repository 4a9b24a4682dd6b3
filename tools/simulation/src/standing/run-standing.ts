import { liveStanding, nameOf, standingCases } from './live-standing.ts';

/** Lives the whole dimension, and prints a line each. @param only a part of the names to be run; all by default. @returns names of what failed. */
export async function runStanding(seed: number, say: (line: string) => void, only = ''): Promise<readonly string[]> {
  const failed: string[] = [];
  for (const one of standingCases(seed).filter((given) => nameOf(given).includes(only))) {
    try {
      const { name, worstMs, reportedMs, equalMs, creditsPerHour } = await liveStanding(one);
      say(`${name}: the rest within ${worstMs / 1_000} s, reported after ${reportedMs / 1_000} s, equal ${equalMs / 60_000} min after the lifting, at most ${creditsPerHour} credits an hour`);
    } catch (error) {
      failed.push(nameOf(one));
      say(`FAILED ${nameOf(one)}: ${error instanceof Error ? (error.name === 'Violation' ? error.message : error.stack) : String(error)}`);
    }
  }
  return failed;
}
