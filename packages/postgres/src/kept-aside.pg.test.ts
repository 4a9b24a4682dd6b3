import { leads } from '@lockstep/modules';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';

import type { Database } from './database.ts';
import { fieldsMissing } from './fields-missing.ts';
import { looksAside, looksDueNow } from './looks-aside.ts';
import { openTestDatabase } from './testing.ts';

let db: Database;
beforeAll(async () => {
  db = await openTestDatabase([leads], { poolSize: 2 });
});
afterAll(() => db.close());
beforeEach(async () => void (await db.pool.query('truncate lockstep.look_aside, lockstep.field_missing')));

describe('a look that is put off', () => {
  const bad = { id: '9223372036854775807', code: 'CRM_REFUSED', cause: 'the CRM answered 400' };
  /** Minutes until the record is due. */
  const dueIn = async (): Promise<number> => Math.round((await db.pool.query<{ minutes: number }>('select (extract(epoch from due_at - now()) / 60)::float8 as minutes from lockstep.look_aside')).rows[0]?.minutes ?? Number.NaN);
  const passTime = async (): Promise<void> => void (await db.pool.query(`update lockstep.look_aside set due_at = now() - interval '1 second'`));

  test('is due less and less often, from a minute to six hours, and is new only once', async () => {
    const aside = looksAside(db);
    const minutes: number[] = [];
    const isNew: boolean[] = [];
    for (let tries = 0; tries < 11; tries += 1) {
      isNew.push((await aside.keep('Leads', [bad])).includes(bad.id));
      minutes.push(await dueIn());
    }
    expect(minutes).toEqual([1, 2, 4, 8, 16, 32, 64, 128, 256, 360, 360]);
    expect(isNew).toEqual([true, ...Array.from({ length: 10 }, () => false)]);
  });

  test('is taken when it is due, once a minute, by its module only, until it is answered', async () => {
    const aside = looksAside(db);
    await aside.keep('Leads', [bad]);
    expect(await aside.take('Leads', 10)).toEqual([]);
    await passTime();
    expect(await aside.take('Deals', 10)).toEqual([]);
    expect(await aside.take('Leads', 10)).toEqual([{ id: bad.id, code: 'CRM_REFUSED' }]);
    expect(await aside.take('Leads', 10)).toEqual([]);
    await passTime();
    await aside.answered('Leads', [bad.id]);
    expect(await aside.take('Leads', 10)).toEqual([]);
  });

  test('is due at once when a person wants that, whatever its pause was', async () => {
    const aside = looksAside(db);
    for (let tries = 0; tries < 9; tries += 1) await aside.keep('Leads', [bad]);
    expect([await looksDueNow(db, 'Deals'), await aside.take('Leads', 10)]).toEqual([0, []]);
    expect([await looksDueNow(db, 'Leads'), await looksDueNow(db, 'Leads'), (await aside.take('Leads', 10)).map(({ id }) => id)]).toEqual([1, 0, [bad.id]]);
  });

  test('for want of room is due at once; a hint of a record that fails brings it forward to a minute', async () => {
    const aside = looksAside(db);
    await aside.wait('Leads', ['1', '1', '2']);
    expect((await aside.take('Leads', 10)).map(({ code }) => code)).toEqual(['HINTS_BACKLOG', 'HINTS_BACKLOG']);
    await aside.answered('Leads', ['1', '2']);
    for (let tries = 0; tries < 5; tries += 1) await aside.keep('Leads', [bad]);
    await aside.wait('Leads', [bad.id]);
    expect([await dueIn(), (await db.pool.query('select tries, code from lockstep.look_aside')).rows]).toEqual([1, [{ tries: 5, code: 'CRM_REFUSED' }]]);
  });
});

test('a missing field is remembered since its first refusal, until what was missed is requested', async () => {
  const fields = fieldsMissing(db);
  const [first, later] = [new Date('2026-05-04T10:00:00Z'), new Date('2026-05-04T11:00:00Z')];
  for (const since of [first, later]) await fields.note({ module: 'Leads', field: 'Fax', cause: 'refused', since });
  expect(await fields.all()).toEqual([{ module: 'Leads', field: 'Fax', cause: 'refused', since: first, isBack: false }]);
  await fields.done('Leads', 'Fax');
  await fields.back('Leads', 'Fax');
  expect(await fields.all()).toMatchObject([{ isBack: true }]);
  await fields.done('Leads', 'Fax');
  expect(await fields.all()).toEqual([]);
});
