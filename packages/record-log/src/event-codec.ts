import { z } from 'zod';

import { contentHash } from './content-hash.ts';
import { EventFormatError } from './errors.ts';
import type { CoverageDeclared, FieldValue, RecordDeleted, RecordEvent } from './observation.ts';
import type { Version } from './version.ts';

/** The newest event version this build reads. */
const EVENT_VERSION = 2;

/** A `RecordSeen` before it is written: the hash is computed while encoding, from the bytes that are hashed. */
export type Sighting = {
  readonly id: string;
  readonly modifiedMs: number;
  readonly observedMs: number;
  readonly coverage: string;
  readonly fields: readonly FieldValue[];
};

/*
 * The form of the value (docs/adr/0001): one line of JSON whose head has a fixed order and fixed spelling, so that a reader
 * decides from the head's bytes alone, and takes a winner's fields to COPY text without building objects. Ids and hashes are
 * digits, so nothing in a head ever needs escaping.
 */
const head = (type: string, id: string, m: number, o: number, hash: string): string => `{"v":1,"type":"${type}","id":"${id}","m":${m},"o":${o},"hash":"${hash}"`;

/*
 * What competes with another time than its own is of version 2 (docs/adr/0009): an older projector must stop at it, for it would
 * park what it cannot read and then let older content stand.
 */
const headOfRepair = (type: string, id: string, m: number, o: number, hash: string, t: number): string =>
  `{"v":2,"type":"${type}","id":"${id}","m":${m},"o":${o},"hash":"${hash}","t":${t}`;

/** The value of a `RecordSeen` message, as JSON text. */
export function encodeSeen({ id, modifiedMs, observedMs, coverage, fields }: Sighting): { readonly hash: string; readonly value: string } {
  const json = JSON.stringify(fields);
  const hash = contentHash(coverage, json);
  return { hash, value: `${head('seen', id, modifiedMs, observedMs, hash)},"coverage":"${coverage}","fields":${json}}` };
}

/** The value of a `RecordRepaired` message. */
export function encodeRepaired({ id, modifiedMs, versionMs, observedMs, coverage, fields }: Sighting & { readonly versionMs: number }): { readonly hash: string; readonly value: string } {
  const json = JSON.stringify(fields);
  const hash = contentHash(coverage, json);
  return { hash, value: `${headOfRepair('repaired', id, modifiedMs, observedMs, hash, versionMs)},"coverage":"${coverage}","fields":${json}}` };
}

/** The value of a `RecordConfirmed` message. */
export const encodeConfirmed = ({ id, modifiedMs, versionMs, observedMs, hash }: Version & { readonly id: string }): string =>
  `${versionMs === undefined ? head('confirmed', id, modifiedMs, observedMs, hash) : headOfRepair('confirmed', id, modifiedMs, observedMs, hash, versionMs)}}`;

/** The value of a `RecordDeleted` message (docs/adr/0014). */
export const encodeDeleted = ({ id, deletedMs, listedMs }: Omit<RecordDeleted, 'type'>): string =>
  `{"v":1,"type":"deleted","id":"${id}","d":${deletedMs}${listedMs === undefined ? '' : `,"l":${listedMs}`}}`;

/** The value of a `CoverageDeclared` message. Each partition holds it before the first event that names it. */
export const encodeCoverage = ({ coverage, fields }: Omit<CoverageDeclared, 'type'>): string =>
  JSON.stringify({ v: 1, type: 'coverage', coverage, fields });

const digits = z.string().regex(/^[1-9]\d{0,18}$/);
// What a date can be; a deletion counts up to the end of its second.
const MOST_MS = 8.64e15 - 1_000;
const ms = z.number().int().min(-MOST_MS).max(MOST_MS);
const version = { id: digits, m: ms, o: ms, hash: z.string().regex(/^[0-9a-f]{32}$/) };
const content = { coverage: z.string().min(1), fields: z.array(z.union([z.string(), z.boolean(), z.null()])) };
const first = z.discriminatedUnion('type', [
  z.object({ ...version, ...content, type: z.literal('seen') }),
  z.object({ ...version, type: z.literal('confirmed') }),
  z.object({ id: digits, type: z.literal('deleted'), d: ms, l: ms.optional() }),
  z.object({ type: z.literal('coverage'), coverage: z.string().min(1), fields: z.array(z.string()).min(1) }),
]);
const second = z.discriminatedUnion('type', [
  z.object({ ...version, ...content, type: z.literal('repaired'), t: ms }),
  z.object({ ...version, type: z.literal('confirmed'), t: ms }),
]);
const envelope = z.object({ v: z.number().int().positive() });

/**
 * Reads any event, in full and strictly. The hot path reads heads only and comes here when a head is not what it expects.
 * @throws {EventFormatError} `EVENT_VERSION_UNKNOWN` for an event of a newer build, `EVENT_MALFORMED` for anything else.
 */
export function decodeEvent(value: Uint8Array | string): RecordEvent {
  const json = parse(value);
  const { data: version } = envelope.safeParse(json);
  if (version !== undefined && version.v > EVENT_VERSION) {
    throw new EventFormatError(`event version ${version.v}; this build reads up to ${EVENT_VERSION}: deploy the newer one`, 'EVENT_VERSION_UNKNOWN');
  }
  const event = (version?.v === 2 ? second : first).safeParse(json);
  if (version === undefined || !event.success) {
    throw new EventFormatError(`no record event: ${event.error?.issues.map((i) => `${i.path.join('.')}: ${i.message}`).join('; ') ?? 'v is missing'}`, 'EVENT_MALFORMED');
  }
  return observationOf(event.data);
}

// By default a decoder replaces what is no UTF-8, and drops a byte order mark.
const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

function parse(value: Uint8Array | string): unknown {
  try {
    return JSON.parse(typeof value === 'string' ? value : utf8.decode(value));
  } catch (cause) {
    throw new EventFormatError('no JSON', 'EVENT_MALFORMED', { cause });
  }
}

function observationOf(event: z.infer<typeof first> | z.infer<typeof second>): RecordEvent {
  switch (event.type) {
    case 'seen':
      return { type: 'RecordSeen', ...versionOf(event), coverage: event.coverage, fields: event.fields };
    case 'repaired':
      return { type: 'RecordRepaired', ...versionOf(event), versionMs: event.t, coverage: event.coverage, fields: event.fields };
    case 'confirmed':
      return { type: 'RecordConfirmed', ...versionOf(event) };
    case 'deleted':
      return { type: 'RecordDeleted', id: event.id, deletedMs: event.d, ...(event.l === undefined ? {} : { listedMs: event.l }) };
    case 'coverage':
      return { type: 'CoverageDeclared', coverage: event.coverage, fields: event.fields };
  }
}

const versionOf = (wired: { id: string; m: number; o: number; hash: string; t?: number }): Version & { readonly id: string } => ({
  id: wired.id,
  modifiedMs: wired.m,
  observedMs: wired.o,
  hash: wired.hash,
  ...(wired.t === undefined ? {} : { versionMs: wired.t }),
});
