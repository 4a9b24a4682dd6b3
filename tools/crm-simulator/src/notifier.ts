import { type Channel, type Channels, isTouched, type Operation } from './api/channels.ts';
import { currentUser } from './catalogue/pools.ts';
import type { ModuleSpec } from './catalogue/catalogue.ts';
import type { ChangeLog } from './change-log.ts';
import type { Deliveries } from './deliveries.ts';
import { jsonValue } from './render/json.ts';
import type { Change } from './store/organisation.ts';

/** Ids one notification carries at most: the size of a write call. */
const BATCH = 100;

const operations: Readonly<Record<Change['operation'], Operation>> = { insert: 'create', update: 'edit', delete: 'delete' };

type Deps = {
  readonly channels: Channels;
  readonly deliveries: Deliveries;
  readonly log: ChangeLog;
  readonly instant: (ms: number) => string;
  /** Ids of records that have nothing to do with a change and are sent with it. */
  readonly strangers: (module: ModuleSpec) => readonly string[];
  /** Host of the `resource_uri`. */
  readonly baseUrl: () => string;
};

/** Notes a change, and notifies every channel that listens, unless it is a silent one. */
export function notifyChannels(deps: Deps, change: Change): void {
  for (let at = 0; at < change.ids.length; at += BATCH) {
    const ids = change.ids.slice(at, at + BATCH);
    const entries = deps.log.add(change, at, at + BATCH);
    if (change.isSilent) continue;
    const sentIds = [...ids, ...deps.strangers(change.module)];
    for (const channel of deps.channels.list()) {
      if (!isWanted(channel, change)) continue;
      deps.deliveries.notify({
        url: channel.notifyUrl,
        body: (sentAtMs) => JSON.stringify(callbackBody(deps, channel, change, sentIds, sentAtMs)),
        onSent: (sentAtMs) => {
          for (const entry of entries) entry.sentAtMs ??= sentAtMs;
        },
      });
    }
  }
}

function isWanted(channel: Channel, change: Change): boolean {
  if (channel.events.get(change.module)?.has(operations[change.operation]) !== true) return false;
  const group = channel.fieldGroups.get(change.module.apiName);
  return change.operation !== 'update' || group === undefined || isTouched(group, new Set(change.values.keys()));
}

/** The body in the vendor's form; `affected_values` only where they were requested. */
function callbackBody(deps: Deps, channel: Channel, change: Change, ids: readonly string[], sentAtMs: number) {
  const values = affectedValues(deps, change);
  const names = Object.keys(values);
  const url = new URL(channel.notifyUrl);
  return {
    server_time: sentAtMs,
    ...(channel.returnValues ? { affected_values: ids.map((id) => ({ record_id: id, values })) } : {}),
    query_params: Object.fromEntries(url.searchParams),
    module: change.module.apiName,
    resource_uri: `${deps.baseUrl()}/crm/v2/${change.module.apiName}`,
    ids,
    affected_fields: change.operation === 'insert' ? [] : ids.map((id) => ({ [id]: names })),
    operation: change.operation,
    channel_id: channel.id,
    token: channel.token,
  };
}

function affectedValues(deps: Deps, change: Change): Record<string, unknown> {
  // A number here, though records are read with a text: so it was seen.
  if (change.operation === 'delete') return { Modified_By: currentUser, Record_Status__s: 0 };
  const fields = [...change.values].map(([name, value]) => [change.module.byName.get(name), value] as const);
  return Object.fromEntries(fields.flatMap(([field, value]) => (field === undefined ? [] : [[field.apiName, jsonValue(field, value, deps.instant)]])));
}
