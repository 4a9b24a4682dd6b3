import { decodeEvent, registerOf } from '@lockstep/record-log';
import type { RegisterAudits, RegisterEntry, RegisterReader } from '@lockstep/postgres';
import type { Producer } from '@lockstep/kafka';

import type { EditedRecords } from './edited-records.ts';

/** A log that keeps nothing, and the register as if each message were applied at once: what is measured here is how long the CRM is not looked at. */
export class PublishedRegister {
  readonly #entries = new Map<string, RegisterEntry>();
  readonly #records: ReadonlyMap<string, EditedRecords>;
  readonly #now: () => number;

  /** @param records by the topic of their module. */
  constructor({ records, now }: { records: ReadonlyMap<string, EditedRecords>; now: () => number }) {
    this.#records = records;
    this.#now = now;
  }

  readonly producer: Pick<Producer, 'send'> = {
    send: async (topic, messages) => {
      const records = this.#records.get(topic);
      for (const { value } of records === undefined ? [] : messages) {
        const event = decodeEvent(value);
        if (event.type === 'CoverageDeclared') continue;
        const { live } = event.type === 'RecordConfirmed' ? { live: undefined } : registerOf(event);
        if (live === undefined) continue;
        this.#entries.set(`${topic}/${event.id}`, { modifiedMs: live.modifiedMs, observedMs: live.observedMs, hash: live.hash, deletedMs: null, listedMs: null });
        records?.seen(event.id, live.modifiedMs, this.#now());
      }
    },
  };

  /** @param topicOf of a module. */
  reader(topicOf: (module: string) => string): RegisterReader {
    return {
      known: async (module, ids) =>
        new Map(ids.flatMap((id) => {
          const entry = this.#entries.get(`${topicOf(module)}/${id}`);
          return entry === undefined ? [] : [[id, entry] as const];
        })),
      parked: async () => new Map(),
      hidden: async () => undefined,
      deleted: async () => [],
      doubtful: async () => [],
      oldestDoubt: async () => null,
    };
  }

  audits(countOf: (module: string) => number): RegisterAudits {
    return { count: async (module) => ({ visible: countOf(module), changedSince: 0, inFuture: 0 }), hideUnseen: async () => 0, cutFuture: async () => 0, hidden: async () => 0 };
  }
}
