import { findModule, type ModuleSpec } from '../catalogue/catalogue.ts';
import { ApiError, invalidData, mandatoryNotFound } from '../errors.ts';
import { parseInstant, wholeSecond } from '../instants.ts';
import type { Channel, FieldGroup, Operation } from './channels.ts';
import { isObject, type Json } from './json-body.ts';
import type { Version } from './world.ts';

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
const parts: readonly Operation[] = ['create', 'edit', 'delete'];

/** The longest life of a channel. */
const maximumLifeMs = (version: Version): number => (version === 6 ? DAY_MS : 7 * DAY_MS);

/** An end that is absent, past or too far away silently becomes one hour. */
export function expiryMs(wanted: unknown, nowMs: number, version: Version): number {
  const ms = parseInstant(wanted);
  return ms === undefined || ms <= nowMs || ms > nowMs + maximumLifeMs(version) ? wholeSecond(nowMs) + HOUR_MS : wholeSecond(ms);
}

/** The channel's id, which may come as text or number. @throws {ApiError} */
export function channelId(entry: Json, path: string): string {
  const id = entry.channel_id;
  if (id === undefined || id === null || id === '') throw mandatoryNotFound({ api_name: 'channel_id', json_path: `${path}.channel_id` });
  if ((typeof id !== 'string' && typeof id !== 'number') || !/^-?\d{1,19}$/.test(String(id))) {
    throw invalidData({ api_name: 'channel_id', json_path: `${path}.channel_id`, expected_data_type: 'long' });
  }
  return String(id);
}

/** Reads the events, `Leads.all` and the like. @throws {ApiError} */
export function channelEvents(entry: Json, path: string): Map<ModuleSpec, Set<Operation>> {
  const wrong = () => invalidData({ api_name: 'events', json_path: `${path}.events` });
  const { events } = entry;
  if (events === undefined || events === null) throw mandatoryNotFound({ api_name: 'events', json_path: `${path}.events` });
  if (!Array.isArray(events) || events.length === 0 || events.length > 50) throw wrong();
  const found = new Map<ModuleSpec, Set<Operation>>();
  for (const event of events as unknown[]) {
    const [, name = '', operation = ''] = /^(\w{1,100})\.(create|edit|delete|all)$/.exec(String(event)) ?? [];
    const module = findModule(name);
    if (module === undefined) throw wrong();
    const operations = found.get(module) ?? new Set();
    for (const part of operation === 'all' ? parts : [operation as Operation]) operations.add(part);
    found.set(module, operations);
  }
  return found;
}

/** A channel as POST and PUT describe it: what is omitted is not kept. @throws {ApiError} */
export function channelOf(entry: Json, path: string, nowMs: number, version: Version): Channel {
  const id = channelId(entry, path);
  const events = channelEvents(entry, path);
  return {
    id,
    events,
    notifyUrl: notifyUrl(entry, path),
    token: token(entry, path),
    expiresAtMs: expiryMs(entry.channel_expiry, nowMs, version),
    returnValues: entry.return_affected_field_values === true,
    relatedActions: entry.notify_on_related_action !== false,
    condition: entry.notification_condition ?? null,
    fieldGroups: fieldGroups(entry, path),
  };
}

/** @throws {ApiError} */
export function notifyUrl(entry: Json, path: string): string {
  const url = entry.notify_url;
  if (url === undefined || url === null || url === '') throw mandatoryNotFound({ api_name: 'notify_url', json_path: `${path}.notify_url` });
  if (typeof url !== 'string' || url.length > 255 || !URL.canParse(url)) throw invalidData({ api_name: 'notify_url', json_path: `${path}.notify_url` });
  return url;
}

/** @throws {ApiError} */
export function token(entry: Json, path: string): string | null {
  const given = entry.token ?? null;
  if (given !== null && (typeof given !== 'string' || given.length > 50)) {
    throw invalidData({ api_name: 'token', json_path: `${path}.token`, maximum_length: 50 });
  }
  return given;
}

/** Reads `notification_condition`. @throws {ApiError} */
export function fieldGroups(entry: Json, path: string): Map<string, FieldGroup> {
  const conditions = entry.notification_condition ?? [];
  const where = `${path}.notification_condition`;
  if (!Array.isArray(conditions)) throw invalidData({ api_name: 'notification_condition', json_path: where, expected_data_type: 'jsonarray' });
  return new Map(
    conditions.map((condition: unknown, at) => {
      const here = `${where}[${at}]`;
      if (!isObject(condition) || condition.type !== 'field_selection') throw mandatoryNotFound({ api_name: 'type', json_path: `${here}.type` });
      const module = isObject(condition.module) ? condition.module.api_name : undefined;
      if (typeof module !== 'string') throw mandatoryNotFound({ api_name: 'module', json_path: `${here}.module` });
      const budget = { fields: 10 };
      return [module, fieldGroup(condition.field_selection, `${here}.field_selection`, budget)];
    }),
  );
}

function fieldGroup(given: unknown, path: string, budget: { fields: number }): FieldGroup {
  if (!isObject(given)) throw new ApiError(400, 'EXPECTED_FIELD_MISSING', 'expected field missing', { expected_fields: [{ api_name: 'field_selection', json_path: path }] });
  if (isObject(given.field)) {
    if (--budget.fields < 0) throw invalidData({ api_name: 'group', json_path: path, maximum_length: 10 });
    return { field: String(given.field.api_name) };
  }
  const operator = given.group_operator;
  if (operator !== 'and' && operator !== 'or') throw invalidData({ api_name: 'group_operator', json_path: `${path}.group_operator`, supported_values: ['and', 'or'] });
  if (!Array.isArray(given.group) || given.group.length > 2) throw invalidData({ api_name: 'group', json_path: `${path}.group`, maximum_length: 2 });
  return { operator, parts: given.group.map((part: unknown, at) => fieldGroup(part, `${path}.group[${at}]`, budget)) };
}
