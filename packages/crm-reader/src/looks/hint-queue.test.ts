import fc from 'fast-check';
import { expect, test } from 'vitest';

import { HintQueue, type PendingHint } from './hint-queue.ts';

const pending = (id: string, name: string): PendingHint => ({ hint: { id } as PendingHint['hint'], name, answered: () => undefined });
const namesOf = (taken: ReadonlyMap<string, readonly PendingHint[]>): [string, string[]][] => [...taken].map(([id, list]) => [id, list.map(({ name }) => name)]);

test('what is put back comes first, with what came since about the same records behind it', () => {
  const queue = new HintQueue();
  for (const id of ['1', '2', '3']) queue.add(pending(id, `${id}a`));
  const taken = queue.take(2);
  for (const id of ['4', '2', '1']) queue.add(pending(id, `${id}b`));
  queue.putBack(taken);
  queue.add(pending('2', '2c'));
  expect([queue.size, queue.has('2'), queue.has('5')]).toEqual([4, true, false]);
  expect(namesOf(queue.take(4))).toEqual([['1', ['1a', '1b']], ['2', ['2a', '2b', '2c']], ['3', ['3a']], ['4', ['4b']]]);
  expect(queue.size).toBe(0);
});

test('no hint is lost or duplicated, whatever is taken and put back', () => {
  const step = fc.oneof(fc.record({ add: fc.integer({ min: 1, max: 6 }) }), fc.record({ take: fc.integer({ min: 1, max: 3 }), isKept: fc.boolean() }));
  fc.assert(fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
    const queue = new HintQueue();
    const [added, answered]: [string[], string[]] = [[], []];
    for (const [at, one] of steps.entries()) {
      if ('add' in one) {
        queue.add(pending(String(one.add), `${one.add}/${at}`));
        added.push(`${one.add}/${at}`);
      } else {
        const taken = queue.take(one.take);
        if (one.isKept) queue.putBack(taken);
        else answered.push(...namesOf(taken).flatMap(([, names]) => names));
      }
    }
    answered.push(...namesOf(queue.take(100)).flatMap(([, names]) => names));
    expect(answered.toSorted()).toEqual(added.toSorted());
  }));
});
