import { createTestDatabase } from '@lockstep/local-stack';
import { connect, copyInto, type Database } from '@lockstep/postgres';
import { canonicalCell } from '@lockstep/record-log';
import fc from 'fast-check';
import type { PoolClient } from 'pg';
import { afterAll, beforeAll, expect, test } from 'vitest';

let testDatabase: Awaited<ReturnType<typeof createTestDatabase>>;
let db: Database;
let client: PoolClient;

beforeAll(async () => {
  testDatabase = await createTestDatabase();
  db = await connect({ url: testDatabase.url, poolSize: 2 });
  client = await db.pool.connect();
  await client.query(`set timezone = 'UTC'; create temp table stored (at timestamptz)`);
});
afterAll(async () => {
  client.release();
  await db.close();
  await testDatabase.drop();
});

const two = (n: number): string => String(n).padStart(2, '0');
const between = (min: number, max: number): fc.Arbitrary<number> => fc.integer({ min, max });
const day = fc.oneof({ weight: 3, arbitrary: fc.tuple(between(1, 9999), between(1, 12), between(1, 28)) }, { weight: 1, arbitrary: fc.constantFrom([1, 1, 1], [9999, 12, 31], [2024, 2, 29], [1970, 1, 1], [4, 2, 29]) });
const offset = fc.oneof(fc.constant('Z'), fc.tuple(fc.constantFrom('+', '-'), between(0, 15), between(0, 59), fc.constantFrom(':', '')).map(([sign, hours, minutes, colon]) => sign + two(hours) + colon + two(minutes)));
const fraction = fc.oneof(fc.constant(''), fc.stringMatching(/^\.\d{1,9}$/), fc.constantFrom('.9999999', '.0000005', '.999999500'));
const instant = fc
  .tuple(day, between(0, 23), between(0, 59), between(0, 59), fraction, offset)
  .map(([[year = 1, month = 1, date = 1], hours, minutes, seconds, part, zone]) => `${String(year).padStart(4, '0')}-${two(month)}-${two(date)}T${two(hours)}:${two(minutes)}:${two(seconds)}${part}${zone}`);

const canonical = (text: string): string => canonicalCell('datetime', text) as string;

test('an instant in canonical form is stored as the CRM\'s own text would be, from arrays and by COPY: any year, offset and fraction', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(instant, { minLength: 200, maxLength: 400 }), async (texts) => {
      const forms = texts.map(canonical);
      const { rows } = await client.query<{ text: string }>('select text from unnest($1::text[], $2::text[]) as u (text, form) where text::timestamptz <> form::timestamptz', [texts, forms]);
      expect(rows).toEqual([]);
      await client.query('truncate stored');
      await copyInto(client, 'stored (at)', Buffer.from(forms.map((form) => `${form}\n`).join('')));
      const { rows: copied } = await client.query<{ at: string }>('select at::text from stored order by stored.at');
      const { rows: plain } = await client.query<{ at: string }>('select at::text from unnest($1::timestamptz[]) as u (at) order by u.at', [texts]);
      expect(copied).toEqual(plain);
    }),
    { numRuns: 20 },
  );
});

test('the same instant has one form, whatever offset it was written with', () => {
  fc.assert(
    fc.property(instant, (text) => {
      expect(canonical(canonical(text))).toBe(canonical(text));
    }),
  );
  expect(canonical('9999-12-31T23:59:59-08:00')).toBe(canonical('9999-12-31T20:59:59-11:00'));
  expect(canonical('0001-01-01T00:00:00+05:30')).toBe(canonical('0001-01-01T00:30:00+06:00'));
});

test.each(['2024-02-30T10:00:00Z', '0000-06-01T00:00:00Z', '2024-05-04T10:00:00+16:00'])('Postgres judges %s itself: it is no instant and reaches it as it stands', async (text) => {
  expect(canonical(text)).toBe(text);
  await expect(client.query('select $1::timestamptz', [canonical(text)])).rejects.toMatchObject({ code: expect.stringMatching(/^22/) as string });
});
