import { describe, expect, test } from 'vitest';

import { noTroubles, type Troubles } from './world.ts';
import { Story } from './testing.ts';

/** A Story in which stores and log fail while every process lives; it ends without them. */
async function troubled(troubles: Partial<Troubles>): Promise<Story> {
  const story = await Story.loaded('10:00:00');
  story.world.troubles = { ...noTroubles, ...troubles };
  for (const [at, id] of story.ids.entries()) {
    story.edit(id, { Company: `Company ${at}` });
    await story.until(`10:0${at + 1}:00`);
  }
  story.delete(story.ids[0] ?? '');
  await story.until('10:12:00');
  story.world.troubles = noTroubles;
  await story.until('10:20:00');
  return story;
}

describe('while every process lives', () => {
  test.each([
    ['calls of stores that fail, or whose answer is lost', { store: 0.2 }, ['store-failed', 'store-answer-lost']],
    ['calls of the log that fail, or whose answer is lost', { log: 0.5 }, ['log-failed', 'log-answer-lost']],
    ['sendings of which only a part is kept', { half: 0.8 }, ['send-halved']],
  ] as const)('%s lose nothing', async (_, troubles, expected) => {
    const story = await troubled(troubles);
    const met = story.world.met.all;
    for (const fault of expected) expect(Object.values(met[fault]).reduce((sum, count) => sum + count, 0)).toBeGreaterThan(0);
    expect(story.world.counts.deaths).toBe(0);
    story.watch.checkEquality('troubles');
  });

  test.each(['store', 'log'] as const)('a %s that is away for ten minutes claims nothing meanwhile, and all is right a while afterwards', async (part) => {
    const story = await Story.loaded('10:00:00');
    const [id = ''] = story.ids;
    story.world.takeAway(part, 10 * 60_000);
    story.edit(id, { Company: 'Meanwhile' });
    await story.until('10:10:00');
    expect(story.company(id)).not.toBe('Meanwhile');
    await story.until('10:20:00');
    expect(story.company(id)).toBe('Meanwhile');
    story.watch.checkEquality('an outage');
  });
});
