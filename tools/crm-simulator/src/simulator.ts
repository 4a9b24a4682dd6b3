import type { Faults } from './deliveries.ts';
import type { ApiFaults } from './faults.ts';
import { defaultOptions, type SimulatorOptions, type TrafficOptions } from './options.ts';
import { type TruthRecord, truthOf } from './render/truth.ts';
import { buildServer } from './server.ts';
import { SimulatorCore } from './simulator-core.ts';
import type { EditManner } from './store/organisation.ts';

type JsonFields = Readonly<Record<string, unknown>>;

/** A running simulated CRM. What its methods do is notified to the subscription channels, as any edit is. */
export type Simulator = {
  /** Base of the accounts server and of the API alike, without a slash at its end. */
  readonly url: string;
  readonly options: SimulatorOptions;
  /** Sets fields of a record, and its `Modified_Time` to now. @throws {AdminError} */
  editRecord(module: string, id: string, fields: JsonFields): TruthRecord;
  /** Creates a record; what is not given is empty. @throws {AdminError} */
  createRecord(module: string, fields: JsonFields): TruthRecord;
  /** Deletes a record; `permanent` passes the recycle bin by. @throws {AdminError} */
  deleteRecord(module: string, id: string, type?: 'recycle' | 'permanent'): { id: string; deleted_time: string; type: string };
  /** Sets the same fields of many records in the same second. @throws {AdminError} */
  massEdit(module: string, ids: readonly string[], fields: JsonFields, manner?: EditManner): TruthRecord[];
  /** Takes a record out of the recycle bin, with its old `Modified_Time`. @throws {AdminError} */
  restoreRecord(module: string, id: string, isSilent?: boolean): TruthRecord;
  /** Converts a lead. @throws {AdminError} */
  convertLead(id: string): TruthRecord;
  /** Merges a record into another one: it is deleted, and what pointed to it points to the other, with its `Modified_Time` moved or not. @throws {AdminError} */
  mergeRecord(module: string, loserId: string, masterId: string, movesReferrers?: boolean): void;
  /** Hides records from every read, or shows them again. @throws {AdminError} */
  setHidden(module: string, ids: readonly string[], isHidden: boolean): void;
  /** @throws {AdminError} `UNKNOWN_RECORD` for one that is deleted or never was. */
  record(module: string, id: string): TruthRecord;
  /** Ids of live records, the smallest first. */
  firstIds(module: string, count: number): string[];
  /** Every live record, by id. */
  truth(module: string): Iterable<TruthRecord>;
  /** What was deleted, the earliest first. */
  deleted(module: string): { id: string; deleted_time: string; type: string }[];
  startTraffic(traffic: Partial<TrafficOptions>): void;
  stopTraffic(): void;
  setFaults(faults: Partial<Faults & ApiFaults>): void;
  /** Takes a channel away, without a notice. @throws {AdminError} `UNKNOWN_CHANNEL` */
  loseChannel(id: string): void;
  /** Resolves once every notification that is due has left. */
  notificationsSettled(): Promise<void>;
  /** Ends all access tokens. */
  revokeTokens(): void;
  counters(): ReturnType<SimulatorCore['counters']>;
  close(): Promise<void>;
};

/**
 * Starts the CRM on a port of its own.
 * @param given what differs from {@link defaultOptions}; unknown modules in `records` are ignored.
 * @throws {Error} when the port is taken.
 */
export async function startSimulator(given: Partial<SimulatorOptions> = {}): Promise<Simulator> {
  const options = { ...defaultOptions(), ...given };
  let url = '';
  const core = new SimulatorCore(options, () => url);
  const server = buildServer(core, () => url);
  url = (await server.listen({ port: options.port, host: options.host })).replace('[::]', 'localhost');
  if (options.traffic !== null) core.traffic.start(options.traffic);
  const { organisation } = core;
  return {
    url,
    options,
    editRecord: (module, id, fields) => truthOf(core.editRecord(module, id, fields)),
    createRecord: (module, fields) => truthOf(core.createRecord(module, fields)),
    deleteRecord: (module, id, type = 'recycle') => core.deletedView(organisation.delete(module, id, type)),
    massEdit: (module, ids, fields, manner) => core.massEdit(module, ids, fields, manner).map(truthOf),
    restoreRecord: (module, id, isSilent = false) => truthOf(core.restoreRecord(module, id, isSilent)),
    convertLead: (id) => truthOf(core.convertLead(id)),
    mergeRecord: (module, loserId, masterId, movesReferrers = false) => void core.mergeRecord(module, loserId, masterId, movesReferrers),
    setHidden: (module, ids, isHidden) => core.setHidden(module, ids, isHidden),
    record: (module, id) => truthOf(organisation.record(module, id)),
    firstIds: (module, count) => core.firstIds(module, count),
    truth: (module) => core.truth(module),
    deleted: (module) => [...organisation.store(module).deleted()].map((deleted) => core.deletedView(deleted)),
    startTraffic: (traffic) => core.traffic.start(traffic),
    stopTraffic: () => core.traffic.stop(),
    setFaults: (faults) => void core.setFaults(faults),
    loseChannel: (id) => core.loseChannel(id),
    notificationsSettled: () => core.deliveries.settled(),
    revokeTokens: () => core.tokens.revokeAll(),
    counters: () => core.counters(),
    close: async () => {
      await core.close();
      await server.close();
    },
  };
}
