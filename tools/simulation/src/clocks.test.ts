import { describe, expect, test } from 'vitest';

import { clockNames } from './host-clocks.ts';
import { simulatedLeads } from './modules.ts';
import { Story, time } from './testing.ts';

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const YEAR_2099 = Date.parse('2099-01-01T00:00:00Z');

const kinds = async (story: Story): Promise<string[]> => (await story.world.incidents.list({ all: true })).map(({ kind }) => kind);
const froms = (story: Story): number[] => story.world.catchUps.rows().map(({ from }) => from.getTime());

describe('replies that carry a wrong Date', () => {
  test.each([['a process that has run for a while', false, ['clock-differs']], ['a process that begins just then', true, expect.anything()]])('of 2099 for eight seconds, to %s: no claim, no catch-up and no look is of then', async (_, isNew, reported) => {
    const story = await Story.loaded('10:00:00', { catchUpIntervalMs: 4_000 });
    const [edited = '', deleted = '', later = ''] = story.ids;
    if (isNew) for (const role of ['reader', 'planner'] as const) story.world.kill(role);
    if (isNew) for (const role of ['reader', 'planner'] as const) story.world.start(role);
    story.faults({ dateAheadMs: YEAR_2099 - time('10:00:00') });
    story.edit(edited, { Company: 'Seen in 2099' });
    story.edit(deleted, { Company: 'Seen in 2099' });
    await story.until('10:00:08');
    story.faults({});
    expect(story.seenUpTo).toBeLessThan(time('10:00:08'));
    story.delete(deleted);
    await story.until('10:01:00');
    story.edit(later, { Company: 'By catch-up' }, { isNotified: false });
    await story.until('10:10:00');
    expect([story.company(edited), story.row(deleted)?.isDeleted, story.company(later)]).toEqual(['Seen in 2099', true, 'By catch-up']);
    expect(Math.max(...froms(story))).toBeLessThan(time('10:10:00'));
    expect(story.seenUpTo).toBeGreaterThan(time('10:06:00'));
    expect(story.seenUpTo).toBeLessThan(time('10:10:00'));
    expect(await kinds(story)).toEqual(reported);
    expect((await story.world.incidents.list()).map(({ kind }) => kind)).not.toContain('clock-differs');
  });

  test('one catch-up that is answered an hour ahead: freshness claims no hour that no one has read, and an edit in it comes by catch-up', async () => {
    const story = await Story.loaded('10:00:00');
    const [id = ''] = story.ids;
    story.faults({ dateAheadMs: HOUR });
    await story.until('10:02:30');
    story.faults({});
    await story.until('10:20:00');
    story.edit(id, { Company: 'In that hour' }, { isNotified: false });
    await story.until('10:30:00');
    expect(story.company(id)).toBe('In that hour');
    expect(story.seenUpTo).toBeLessThan(time('10:30:00'));
    expect(story.seenUpTo).toBeGreaterThan(time('10:24:00'));
  });

  test.each([['in the middle of its life', false], ['before it begins', true]])('an hour behind with the reader\'s own, set back %s: a deletion of before is not one to come', async (_, isNew) => {
    const story = await Story.loaded('10:00:00');
    const [id = ''] = story.ids;
    story.edit(id, { Company: 'Edited' });
    await story.until('10:03:00');
    if (isNew) story.world.kill('reader');
    story.delete(id, false);
    for (const name of ['crm', 'ingress'] as const) story.world.clocks[name].aheadMs = -HOUR;
    if (isNew) story.world.start('reader');
    await story.until('10:30:00');
    expect(story.row(id)?.isDeleted).toBe(true);
  });

  test('a deletion that the CRM dates to 2099 kills the record until it is restored, not forever', async () => {
    const story = await Story.loaded('10:00:00');
    const [id = ''] = story.ids;
    story.world.clocks.crm.aheadMs = YEAR_2099 - time('10:00:00');
    story.delete(id);
    story.world.clocks.crm.aheadMs = 0;
    await story.until('10:05:00');
    expect(story.row(id)?.isDeleted).toBe(true);
    expect(story.world.tables.record('Leads', id)?.deletedMs).toBeLessThan(time('10:05:00'));
    story.restore(id);
    await story.until('11:30:00');
    expect(story.row(id)?.isDeleted).toBe(false);
  });
});

describe('what lies in the future already', () => {
  test('is repaired when the planner starts, with an incident: a deleted record goes, and an edit arrives by catch-up', async () => {
    const story = await Story.loaded('10:00:00');
    const { world } = story;
    const [deleted = '', edited = '', restored = ''] = story.ids;
    world.kill('planner');
    await world.watermarks.note({ module: 'Leads', kind: 'changes', at: new Date(YEAR_2099), topicId: 't', endOffsets: [0, 0] });
    world.tables.damage('Leads', deleted, (record) => ({ ...record, ...(record.live && { live: { ...record.live, observedMs: YEAR_2099 } }) }));
    world.tables.damage('Leads', restored, (record) => ({ ...record, deletedMs: YEAR_2099 }));
    world.crm.delete('Leads', deleted);
    world.crm.edit('Leads', [edited], { Company: 'By catch-up' }, { isNotified: false });
    await world.time.advance(MINUTE);
    world.start('planner');
    await world.time.advance(30 * MINUTE);
    expect(await kinds(story)).toContain('future-repaired');
    expect([story.row(deleted)?.isDeleted, story.company(edited), story.row(restored)?.isDeleted]).toEqual([true, 'By catch-up', false]);
    expect(story.seenUpTo).toBeLessThan(world.time.now());
    story.watch.checkEquality('a while');
  });
});

describe.each(clockNames)('the clock of the %s, set by an hour', (name) => {
  describe.each([['forward', HOUR], ['back', -HOUR]] as const)('%s', (_, stepMs) => {
    const isStampedAgain = name === 'crm' && stepMs < 0;

    // A host that is slow from the first call on, or a CRM that is fast: nothing can show which of the two is right, so claims are an hour early.
    const lateMs = (isUntil: 'idle' | 'loading'): number => ((name === 'crm' && stepMs > 0) || (isUntil === 'loading' && name === 'ingress' && stepMs < 0) ? HOUR : 0);

    /** @returns whether the records ended as they are in the CRM, and the figures of the time since. */
    async function after(story: Story, isUntil: 'idle' | 'loading') {
      const { world } = story;
      const [notified = '', unnotified = '', deleted = '', restored = ''] = story.ids;
      const [firstCatchUp, start] = [world.catchUps.rows().length, world.time.now()];
      story.edit(notified, { Company: 'Notified' });
      story.edit(unnotified, { Company: 'Unnotified' }, { isNotified: false });
      story.delete(deleted, false);
      story.delete(restored);
      await world.time.advance(5 * MINUTE);
      story.restore(restored);
      // While the CRM stamps again with times of before, no claim is made; afterwards all is as it was.
      await world.time.advance((isStampedAgain ? 75 : 20) * MINUTE);
      if (isStampedAgain) story.edit(unnotified, { Company: 'Unnotified' }, { isNotified: false });
      // Where two sources disagree from the first call on, times are an hour early for as long, and a restored record waits for it.
      await world.time.advance((isUntil === 'loading' ? 75 : 30) * MINUTE);
      story.watch.check();
      story.watch.checkEquality('a while');
      const crmNow = world.clocks.crm.now();
      const rows = [story.company(notified), story.company(unnotified), story.row(deleted)?.isDeleted ?? true, story.row(restored)?.isDeleted];
      return {
        rows,
        // They neither stop nor run without a pause: one in two minutes, and one when a clock was set.
        catchUpsAMinute: (world.catchUps.rows().length - firstCatchUp) / ((world.time.now() - start) / MINUTE),
        isClaimTrue: story.seenUpTo < crmNow,
        isClaimFresh: story.seenUpTo > crmNow - 6 * MINUTE - lateMs(isUntil),
      };
    }
    const right = { rows: ['Notified', 'Unnotified', true, false], isClaimTrue: true, isClaimFresh: true };
    const isPaced = (perMinute: number): boolean => perMinute > 0.3 && perMinute < 0.6;

    const set = (story: Story): void => {
      story.world.clocks[name].aheadMs += stepMs;
      if (isStampedAgain) story.watch.setBack(HOUR);
    };

    test('while idle', async () => {
      const story = await Story.loaded('10:00:00', { restoreScanEveryMs: 20 * MINUTE });
      set(story);
      const { catchUpsAMinute, ...outcome } = await after(story, 'idle');
      expect([outcome, isPaced(catchUpsAMinute)]).toEqual([right, true]);
      // A projector never asks for the time.
      expect((await kinds(story)).includes('clock-differs')).toBe(name !== 'projector');
    });

    test('while loading', async () => {
      const story = await Story.loading('10:00:00', { restoreScanEveryMs: 20 * MINUTE });
      expect(story.world.tables.freshness(simulatedLeads).refreshedAt).toBeNull();
      set(story);
      await story.world.time.advance(10_000);
      const { catchUpsAMinute, ...outcome } = await after(story, 'loading');
      expect([outcome, isPaced(catchUpsAMinute)]).toEqual([right, true]);
    });

    test('and right again after ten minutes', async () => {
      const story = await Story.loaded('10:00:00', { restoreScanEveryMs: 20 * MINUTE });
      set(story);
      await story.world.time.advance(10 * MINUTE);
      story.world.clocks[name].aheadMs = 0;
      if (name === 'crm' && stepMs > 0) story.watch.setBack(HOUR);
      await story.world.time.advance(name === 'crm' ? 80 * MINUTE : 2 * MINUTE);
      const [id = ''] = story.ids;
      story.edit(id, { Company: 'Afterwards' }, { isNotified: false });
      await story.world.time.advance(10 * MINUTE);
      story.watch.check();
      expect(story.company(id)).toBe('Afterwards');
      expect(story.seenUpTo).toBeGreaterThan(story.world.clocks.crm.now() - 6 * MINUTE);
    });
  });
});
