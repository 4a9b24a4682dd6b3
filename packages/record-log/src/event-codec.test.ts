import fc from 'fast-check';
import { describe, expect, test } from 'vitest';

import { contentHash } from './content-hash.ts';
import { coverage } from './coverage.ts';
import { decodeEvent, encodeConfirmed, encodeCoverage, encodeDeleted, encodeRepaired, encodeSeen } from './event-codec.ts';
import { readRepairedHead, readSeenHead } from './event-head.ts';

const covered = coverage(['Last_Name', 'Company']);
const fieldValue = fc.oneof(fc.string({ unit: 'binary' }).map((s) => s.toWellFormed()), fc.boolean(), fc.constant(null));
const sighting = fc.record({
  id: fc.bigInt({ min: 1n, max: 9_999_999_999_999_999_999n }).map(String),
  modifiedMs: fc.integer({ min: 0, max: 4_000_000_000_000 }),
  observedMs: fc.integer({ min: 0, max: 4_000_000_000_000 }),
  coverage: fc.constant(covered.id),
  fields: fc.array(fieldValue, { minLength: 2, maxLength: 2 }),
});

describe('a RecordSeen', () => {
  test('is read back as it was written', () => {
    fc.assert(
      fc.property(sighting, (seen) => {
        const { value, hash } = encodeSeen(seen);
        expect(decodeEvent(value)).toEqual({ type: 'RecordSeen', ...seen, hash });
        expect(decodeEvent(Buffer.from(value))).toEqual({ type: 'RecordSeen', ...seen, hash });
      }),
    );
  });

  test('says in its head what the whole event says, and where its fields begin', () => {
    fc.assert(
      fc.property(sighting, (seen) => {
        const { value, hash } = encodeSeen(seen);
        const bytes = Buffer.from(value);
        const head = readSeenHead(bytes);
        expect(head).toMatchObject({ id: seen.id, modifiedMs: seen.modifiedMs, observedMs: seen.observedMs, coverage: seen.coverage, hash });
        expect(JSON.parse(bytes.subarray(head?.fieldsAt, -1).toString())).toEqual(seen.fields);
      }),
    );
  });

  test('has a head that is read in its published form, and in no other: not with a byte more, less or changed', () => {
    const published = /^\{"v":1,"type":"seen","id":"([1-9]\d{0,18})","m":(-?\d{1,15}),"o":(-?\d{1,15}),"hash":"([0-9a-f]{32})","coverage":"([0-9a-f]{8})","fields":\[/;
    const expected = (bytes: Buffer): ReturnType<typeof readSeenHead> => {
      const [text, id = '', modified, observed, hash = '', coverageId = ''] = published.exec(bytes.toString('latin1')) ?? [];
      const isWhole = text !== undefined && bytes.subarray(-2).toString() === ']}';
      return isWhole ? { id, modifiedMs: Number(modified), observedMs: Number(observed), hash, coverage: coverageId, fieldsAt: text.length - 1 } : null;
    };
    const misread: string[] = [];
    const others = [...Buffer.from('-+09afgAF"{},: '), 0, 0xff].map((byte) => Buffer.of(byte));
    for (const [id, modifiedMs] of [['9223372036854775807', 999_999_999_999_999], ['1', -5]] as const) {
      const valid = Buffer.from(encodeSeen({ id, modifiedMs, observedMs: 1_700_000_000_000, coverage: covered.id, fields: ['A', null] }).value);
      for (let at = 0; at <= valid.length; at += 1) {
        const before = valid.subarray(0, at);
        const variants = [Buffer.concat([before, valid.subarray(at + 1)]), ...others.flatMap((byte) => [Buffer.concat([before, byte, valid.subarray(at)]), Buffer.concat([before, byte, valid.subarray(at + 1)])])];
        misread.push(...variants.filter((bytes) => fc.stringify(readSeenHead(bytes)) !== fc.stringify(expected(bytes))).map(String));
      }
    }
    expect(misread).toEqual([]);
  });

  test('has one hash for one content, and another for the same values of other fields', () => {
    const fields = JSON.stringify(['A', null]);
    expect(contentHash(covered.id, fields)).toMatch(/^[0-9a-f]{32}$/);
    expect(contentHash(covered.id, fields)).not.toBe(contentHash(coverage(['Company', 'Last_Name']).id, fields));
  });
});

describe('a RecordRepaired', () => {
  const repair = fc.tuple(sighting, fc.integer({ min: 0, max: 4_000_000_000_000 })).map(([seen, versionMs]) => ({ ...seen, versionMs }));

  test('is read back as it was written, its head too, and is no RecordSeen', () => {
    fc.assert(
      fc.property(repair, (repaired) => {
        const { value, hash } = encodeRepaired(repaired);
        const bytes = Buffer.from(value);
        expect(decodeEvent(value)).toEqual({ type: 'RecordRepaired', ...repaired, hash });
        const { fields, ...rest } = repaired;
        const head = readRepairedHead(bytes);
        expect(head).toEqual({ ...rest, hash, fieldsAt: expect.any(Number) });
        expect(JSON.parse(bytes.subarray(head?.fieldsAt, -1).toString())).toEqual(fields);
        expect(readSeenHead(bytes)).toBeNull();
        expect(readRepairedHead(Buffer.from(encodeSeen(repaired).value))).toBeNull();
      }),
    );
  });

  test('is of version 2, and so is what confirms it: a build that knows only version 1 stops', () => {
    const { value } = encodeRepaired({ id: '12', modifiedMs: 1000, versionMs: 9000, observedMs: 2000, coverage: covered.id, fields: ['A', null] });
    expect(value).toMatch(/^\{"v":2,"type":"repaired"/);
    const confirmed = { id: '12', modifiedMs: 1000, versionMs: 9000, observedMs: 2000, hash: 'ab'.repeat(16) };
    expect(encodeConfirmed(confirmed)).toMatch(/^\{"v":2,"type":"confirmed"/);
    expect(decodeEvent(encodeConfirmed(confirmed))).toEqual({ type: 'RecordConfirmed', ...confirmed });
  });

  test('nothing else of version 2 is known', () => {
    expect(() => decodeEvent('{"v":2,"type":"seen","id":"1","m":1,"o":1,"hash":"ab"}')).toThrow(expect.objectContaining({ code: 'EVENT_MALFORMED' }));
  });
});

describe('the other events', () => {
  test('are written byte for byte as they always were', () => {
    const hash = 'ab'.repeat(16);
    expect(encodeSeen({ id: '12', modifiedMs: 1000, observedMs: 2000, coverage: covered.id, fields: ['A', null] }).value).toMatch(
      new RegExp(`^\\{"v":1,"type":"seen","id":"12","m":1000,"o":2000,"hash":"[0-9a-f]{32}","coverage":"${covered.id}","fields":\\["A",null\\]\\}$`),
    );
    expect(encodeConfirmed({ id: '12', modifiedMs: 1000, observedMs: 2000, hash })).toBe(`{"v":1,"type":"confirmed","id":"12","m":1000,"o":2000,"hash":"${hash}"}`);
    expect(encodeDeleted({ id: '12', deletedMs: 3000 })).toBe('{"v":1,"type":"deleted","id":"12","d":3000}');
    expect(encodeDeleted({ id: '12', deletedMs: 3000, listedMs: 4000 })).toBe('{"v":1,"type":"deleted","id":"12","d":3000,"l":4000}');
    expect(encodeCoverage({ coverage: 'c', fields: ['F'] })).toBe('{"v":1,"type":"coverage","coverage":"c","fields":["F"]}');
  });

  test('are read back as they were written, and have no RecordSeen head', () => {
    const confirmed = { id: '12', modifiedMs: 1000, observedMs: 2000, hash: 'ab'.repeat(16) };
    expect(decodeEvent(encodeConfirmed(confirmed))).toEqual({ type: 'RecordConfirmed', ...confirmed });
    expect(decodeEvent(encodeDeleted({ id: '12', deletedMs: 3000 }))).toEqual({ type: 'RecordDeleted', id: '12', deletedMs: 3000 });
    expect(decodeEvent(encodeDeleted({ id: '12', deletedMs: 3000, listedMs: 4000 }))).toEqual({ type: 'RecordDeleted', id: '12', deletedMs: 3000, listedMs: 4000 });
    expect(decodeEvent(encodeCoverage({ coverage: covered.id, fields: covered.fields }))).toEqual({ type: 'CoverageDeclared', coverage: covered.id, fields: covered.fields });
    expect(readSeenHead(Buffer.from(encodeConfirmed(confirmed)))).toBeNull();
  });
});

describe('what is no event', () => {
  test.each(['', 'null', '{', '{"v":1}', '{"v":1,"type":"seen","id":"x"}', '{"type":"deleted","id":"1","d":1}'])('%j is malformed', (value) => {
    expect(() => decodeEvent(value)).toThrow(expect.objectContaining({ code: 'EVENT_MALFORMED' }));
  });

  const content = { id: '12', modifiedMs: 1000, versionMs: 9000, observedMs: 2000, coverage: covered.id, fields: ['A', null] };
  const values = [encodeSeen(content).value, encodeRepaired(content).value, encodeDeleted({ id: '12', deletedMs: 3000 }), encodeCoverage({ coverage: covered.id, fields: covered.fields })];

  test.each(['}', ' x', '\0', '\n{"v":1}', ',', ']', '}]}'])('an event with %j behind it is malformed', (behind) => {
    for (const value of values) expect(() => decodeEvent(Buffer.from(value + behind))).toThrow(expect.objectContaining({ code: 'EVENT_MALFORMED' }));
  });

  test.each(['}', ' x', '\0', '\n{"v":1}', ',', ']', ' '])('a content with %j behind it has no head', (behind) => {
    for (const value of values) expect([readSeenHead(Buffer.from(value + behind)), readRepairedHead(Buffer.from(value + behind))]).toEqual([null, null]);
  });

  test.each([['a byte order mark', Buffer.from([0xef, 0xbb, 0xbf]), 0], ['a byte that is no UTF-8', Buffer.from([0xff]), '{"v":1,"type":"coverage","coverage":"c","fields":["L'.length]])('an event with %s is malformed: nothing is replaced', (_, bytes, at) => {
    const value = Buffer.from(encodeCoverage({ coverage: 'c', fields: ['Last_Name'] }));
    expect(() => decodeEvent(Buffer.concat([value.subarray(0, at), bytes, value.subarray(at)]))).toThrow(expect.objectContaining({ code: 'EVENT_MALFORMED' }));
  });

  test('a newer event version has its own code, because it must stop the reader', () => {
    expect(() => decodeEvent('{"v":3,"type":"anything"}')).toThrow(expect.objectContaining({ code: 'EVENT_VERSION_UNKNOWN' }));
  });

  test('arbitrary bytes never give a head', () => {
    fc.assert(fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
      expect(readSeenHead(Buffer.from(bytes))).toBeNull();
    }));
  });
});
