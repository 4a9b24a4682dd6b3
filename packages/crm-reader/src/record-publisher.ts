import { isUnhinted, type Known, statementOf } from '@lockstep/completeness';
import type { ProducedMessage } from '@lockstep/kafka';
import { coverageOf, type ModuleDefinition } from '@lockstep/modules';
import { coverage, type Coverage, encodeConfirmed, encodeCoverage, encodeDeleted, encodeRepaired, encodeSeen, type Sighting } from '@lockstep/record-log';

import type { PartialSighting } from './sighting.ts';

/** Where an observation came from: a bulk file, a look at single records, a catch-up, or the deleted list. */
export type Origin = 'bulk' | 'look' | 'catch-up' | 'deleted-list';

const source = (module: ModuleDefinition): string => `/zoho-crm/${module.apiName}`;

/*
 * The headers are CloudEvents' Kafka binding, binary mode; `ce_origin` and `ce_reading` are extensions of ours: how the CRM was read, and by which reading, for people.
 * `ce_id` names the event within its source: the same observation gets the same id, however often it is sent.
 */
const common = { 'content-type': Buffer.from('application/json'), ce_specversion: Buffer.from('1.0') };

type MessageOf<T> = (given: T) => ProducedMessage;

/** Makes the messages of a module's sightings from one origin; the constant headers are made once. */
export function seenMessages(module: ModuleDefinition, origin: Origin, reading: string): MessageOf<Omit<Sighting, 'coverage'>> {
  const covered = coverageOf(module).id;
  const constant = { ...common, ce_type: Buffer.from('lockstep.record.seen.v1'), ce_source: Buffer.from(source(module)), ce_origin: Buffer.from(origin), ce_reading: Buffer.from(reading) };
  return (sighting) => {
    const { hash, value } = encodeSeen({ ...sighting, coverage: covered });
    return { key: sighting.id, value, headers: { ...constant, ce_id: `${sighting.id}-${sighting.observedMs}-${hash.slice(0, 8)}`, ce_time: timeOf(sighting.observedMs) } };
  };
}

/** What is being read: the CRM time at which that began, epoch milliseconds, and what people call it, e.g. `catch-up 17`. */
export type Reading = { readonly lowerMs: number; readonly name: string };

/** How a look was written down: its event, after the coverage that it names where that is not the module's own. */
export type LookMessages = { readonly messages: readonly ProducedMessage[]; readonly isSeen: boolean; readonly isUnhinted: boolean };

/**
 * Makes the messages of a module's looks, given what the register holds: in full what is new to it, in 60 bytes what it has
 * already, so that reading the same again does not double the log; as a repair what would lose against it although it is later.
 */
export function lookMessages(module: ModuleDefinition, origin: Origin, epsilonMs: number): (sighting: PartialSighting, known: Known | undefined, reading: Reading) => LookMessages {
  const whole = coverageOf(module).id;
  const constant = { ...common, ce_source: Buffer.from(source(module)), ce_origin: Buffer.from(origin) };
  const types = { seen: Buffer.from('lockstep.record.seen.v1'), confirmed: Buffer.from('lockstep.record.confirmed.v1'), repaired: Buffer.from('lockstep.record.repaired.v2') };
  return ({ unread = [], ...sighting }, known, { lowerMs, name }) => {
    const { id, modifiedMs, observedMs } = sighting;
    const part = unread.length === 0 ? null : coverage(coverageOf(module).fields.filter((field) => !unread.includes(field)));
    const covered = { ...sighting, coverage: part?.id ?? whole };
    const seen = encodeSeen(covered);
    const { hash } = seen;
    const statement = statementOf(known, { modifiedMs, hash, lowerMs }, epsilonMs);
    const headers = { ...constant, ce_reading: name, ce_type: types[statement.type], ce_id: `${id}-${observedMs}-${hash.slice(0, 8)}`, ce_time: timeOf(observedMs) };
    const value = (): string => {
      switch (statement.type) {
        case 'seen':
          return seen.value;
        case 'confirmed':
          return encodeConfirmed({ id, modifiedMs, observedMs, hash, ...(statement.versionMs === undefined ? {} : { versionMs: statement.versionMs }) });
        case 'repaired':
          return encodeRepaired({ ...covered, versionMs: statement.versionMs }).value;
      }
    };
    const isSeen = statement.type !== 'confirmed';
    // Of the same key, so that it stands in the same partition and before the event. Such events are few.
    const declared = part === null || !isSeen ? [] : [{ ...coverageMessage(module, part, observedMs), key: id }];
    return { messages: [...declared, { key: id, value: value(), headers }], isSeen, isUnhinted: isUnhinted(known, { modifiedMs, observedMs }) };
  };
}

/** The message of a deletion that the deleted list gave, by a call that began at `listedMs` or later. */
export function deletedMessage(module: ModuleDefinition, deletion: { readonly id: string; readonly deletedMs: number; readonly listedMs: number }, reading: string): ProducedMessage {
  const { id, deletedMs, listedMs } = deletion;
  const headers = { ...common, ce_type: 'lockstep.record.deleted.v1', ce_source: source(module), ce_origin: 'deleted-list' satisfies Origin, ce_reading: reading, ce_id: `${id}-${deletedMs}-listed-${listedMs}`, ce_time: timeOf(deletedMs) };
  return { key: id, value: encodeDeleted(deletion), headers };
}

/** One message for each partition: the field names that the events after it are about. */
export function coverageMessages(module: ModuleDefinition, partitions: number, nowMs: number): ProducedMessage[] {
  const message = coverageMessage(module, coverageOf(module), nowMs);
  return Array.from({ length: partitions }, (_, partition) => ({ ...message, partition }));
}

function coverageMessage(module: ModuleDefinition, { id, fields }: Coverage, nowMs: number): ProducedMessage {
  const headers = { ...common, ce_type: 'lockstep.coverage.declared.v1', ce_source: source(module), ce_id: `coverage-${id}-${nowMs}`, ce_time: timeOf(nowMs) };
  return { key: `coverage-${id}`, value: encodeCoverage({ coverage: id, fields }), headers };
}

let lastMs = Number.NaN;
let lastTime = '';

// Rows of one bulk file share their time; formatting it again for each row would cost more than its hash.
function timeOf(ms: number): string {
  if (ms !== lastMs) {
    lastMs = ms;
    lastTime = new Date(ms).toISOString();
  }
  return lastTime;
}
