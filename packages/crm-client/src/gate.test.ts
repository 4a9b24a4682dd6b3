import { describe, expect, test } from 'vitest';

import { Gate } from './gate.ts';

const turn = (): Promise<void> => new Promise((resolve) => void setImmediate(resolve));

/** Enters, and notes it under a name. */
function entering(gate: Gate, entered: string[], signal?: AbortSignal) {
  return async (name: string): Promise<() => void> => {
    const leave = await gate.enter(signal === undefined ? [] : [signal]);
    entered.push(name);
    return leave;
  };
}

describe('a gate', () => {
  test('lets so many in at a time, and the others in the order of their coming', async () => {
    const entered: string[] = [];
    const enter = entering(new Gate(2), entered);
    const [leaveA, leaveB] = await Promise.all([enter('a'), enter('b')]);
    const waiting = [enter('c'), enter('d')];
    await turn();
    expect(entered).toEqual(['a', 'b']);
    leaveB();
    await turn();
    expect(entered).toEqual(['a', 'b', 'c']);
    leaveA();
    await Promise.all(waiting);
    expect(entered).toEqual(['a', 'b', 'c', 'd']);
  });

  test('hands the place on: no one who comes at that moment takes it', async () => {
    const entered: string[] = [];
    const enter = entering(new Gate(1), entered);
    const leave = await enter('a');
    const second = enter('b');
    leave();
    const third = enter('c');
    (await second)();
    (await third)();
    expect(entered).toEqual(['a', 'b', 'c']);
  });

  test('a call that is given up while it waits takes no place', async () => {
    const gate = new Gate(1);
    const entered: string[] = [];
    const stopping = new AbortController();
    const leave = await entering(gate, entered)('a');
    const givenUp = entering(gate, entered, stopping.signal)('b');
    const next = entering(gate, entered)('c');
    stopping.abort();
    await expect(givenUp).rejects.toMatchObject({ code: 'CRM_UNREACHABLE' });
    await expect(gate.enter([stopping.signal])).rejects.toMatchObject({ code: 'CRM_UNREACHABLE' });
    leave();
    (await next)();
    (await entering(gate, entered)('d'))();
    expect(entered).toEqual(['a', 'c', 'd']);
  });
});
