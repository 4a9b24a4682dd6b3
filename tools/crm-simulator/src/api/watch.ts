import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';

import type { ModuleSpec } from '../catalogue/catalogue.ts';
import { ApiError, invalidData, mandatoryNotFound } from '../errors.ts';
import type { Channel } from './channels.ts';
import { isObject, type Json, jsonBody } from './json-body.ts';
import { channelEvents, channelId, channelOf, expiryMs, fieldGroups, notifyUrl, token } from './watch-request.ts';
import { nothing, paramsOf, type Version, type World } from './world.ts';

const path = '/actions/watch';
const success = (message: string, details: Json) => ({ code: 'SUCCESS', details, message, status: 'success' });
const notSubscribed = (id: string) => new ApiError(400, 'NOT_SUBSCRIBED', 'the given channel id is not subscribed', { api_name: 'channel_id', channel_id: id });

/** The notification API: `/crm/v{n}/actions/watch`. */
export function watchRoutes(app: FastifyInstance, world: World, version: Version): void {
  const resource = (module: ModuleSpec) => ({ resource_uri: `${world.baseUrl()}/crm/v2/${module.apiName}`, resource_id: module.id });
  const opened = (channel: Channel) => ({
    events: [...channel.events.keys()].map((module) => ({
      channel_expiry: world.instant(channel.expiresAtMs),
      ...resource(module),
      resource_name: module.apiName,
      channel_id: channel.id,
    })),
  });
  const existing = (id: string): Channel => {
    const channel = world.channels.get(id);
    if (channel === undefined) throw notSubscribed(id);
    return channel;
  };
  const put = (entry: Json, at: string, message: string) => {
    const nowMs = world.clock.nowMs();
    const asked = channelOf(entry, at, nowMs, version);
    const channel = world.faults.faults.shortExpiry ? { ...asked, expiresAtMs: expiryMs(undefined, nowMs, version) } : asked;
    world.channels.put(channel);
    return success(message, opened(channel));
  };

  app.post(path, (request, reply) =>
    each(request, reply, 201, (entry, at) => put(entry, at, 'Successfully subscribed for actions-watch of the given module')));
  app.put(path, (request, reply) =>
    each(request, reply, 200, (entry, at) => {
      existing(channelId(entry, at));
      return put(entry, at, 'Successfully updated the subscribe details');
    }));
  app.patch(path, (request, reply) =>
    each(request, reply, 200, (entry, at) => {
      const channel = existing(channelId(entry, at));
      if (entry['_delete_events'] === true) return success('Successfully removed the subscribe details', removeEvents(world, channel, entry, at, resource));
      const changed = patched(channel, entry, at, world.clock.nowMs(), version);
      world.channels.put(changed);
      return success('Successfully updated the subscribe details', opened(changed));
    }));

  app.delete(path, async (request, reply) => {
    const ids = paramsOf(request).channel_ids?.split(',').filter((id) => id !== '') ?? [];
    if (ids.length === 0) throw new ApiError(400, 'EXPECTED_PARAM_MISSING', 'channel_ids is missing', { param_name: 'channel_ids' });
    return elements(reply, 200, ids.flatMap((id): readonly unknown[] => {
      const channel = world.channels.get(id);
      if (channel === undefined) return [notSubscribed(id)];
      world.channels.remove(id);
      return [...channel.events.keys()].map((module) => success('Successfully un-subscribed from actions-watch', { ...resource(module), channel_id: id }));
    }));
  });

  app.get(path, async (request, reply) => {
    const { page = '1', per_page = '200', channel_id, module } = paramsOf(request);
    const [number, size] = [Number(page), Math.min(Number(per_page), 200)];
    if (!(number >= 1 && size >= 1)) throw invalidData({ param_name: 'page' });
    const rows = world.channels.list().filter((channel) => channel_id === undefined || channel.id === channel_id)
      .flatMap((channel) => [...channel.events].filter(([spec]) => module === undefined || spec.apiName === module).map(([spec, operations]) => ({
        notify_on_related_action: channel.relatedActions,
        channel_expiry: world.instant(channel.expiresAtMs),
        return_affected_field_values: channel.returnValues,
        ...resource(spec),
        notify_url: channel.notifyUrl,
        resource_name: spec.apiName,
        fields: null,
        notification_condition: channel.condition,
        channel_id: channel.id,
        events: [...operations].map((operation) => `${spec.apiName}.${operation}`),
        token: channel.token,
      })));
    const listed = rows.slice((number - 1) * size, number * size);
    if (listed.length === 0) return nothing(reply, 204);
    return { watch: listed, info: { per_page: size, count: listed.length, page: number, more_records: rows.length > number * size } };
  });
}

/** The channel with the keys that were given; the others stay. `notify_url` is mandatory here too. */
function patched(channel: Channel, entry: Json, at: string, nowMs: number, version: Version): Channel {
  return {
    ...channel,
    notifyUrl: notifyUrl(entry, at),
    ...('events' in entry ? { events: new Map([...channel.events, ...channelEvents(entry, at)]) } : {}),
    ...('token' in entry ? { token: token(entry, at) } : {}),
    ...('channel_expiry' in entry ? { expiresAtMs: expiryMs(entry.channel_expiry, nowMs, version) } : {}),
    ...('return_affected_field_values' in entry ? { returnValues: entry.return_affected_field_values === true } : {}),
    ...('notify_on_related_action' in entry ? { relatedActions: entry.notify_on_related_action !== false } : {}),
    ...('notification_condition' in entry ? { condition: entry.notification_condition, fieldGroups: fieldGroups(entry, at) } : {}),
  };
}

/** Takes the listed events off; a channel without events is closed. */
function removeEvents(world: World, channel: Channel, entry: Json, at: string, resource: (module: ModuleSpec) => Json): Json {
  const unwanted = channelEvents(entry, at);
  const left = [...channel.events].map(([module, operations]) => [module, new Set([...operations].filter((o) => unwanted.get(module)?.has(o) !== true))] as const);
  const events = new Map(left.filter(([, operations]) => operations.size > 0));
  if (events.size === 0) world.channels.remove(channel.id);
  else world.channels.put({ ...channel, events });
  return { events: [...unwanted.keys()].map((module) => ({ ...resource(module), resource_name: module.apiName, channel_id: channel.id })) };
}

/** Does each element of `watch`; one that fails does not hold up the others. */
async function each(request: FastifyRequest, reply: FastifyReply, status: number, work: (entry: Json, path: string) => unknown): Promise<FastifyReply> {
  const { watch } = jsonBody(request);
  if (watch === undefined) throw mandatoryNotFound({ api_name: 'watch', json_path: '$.watch' });
  if (!Array.isArray(watch) || watch.length === 0) throw invalidData({ api_name: 'watch', json_path: '$.watch', expected_data_type: 'jsonarray' });
  if (watch.length > 50) throw new ApiError(400, 'LIMIT_REACHED', 'limit reached', { api_name: 'watch', json_path: '$.watch', limit: 50 });
  return elements(reply, status, watch.map((entry: unknown, at) => {
    try {
      if (!isObject(entry)) throw invalidData({ json_path: `$.watch[${at}]`, expected_data_type: 'jsonobject' });
      return work(entry, `$.watch[${at}]`);
    } catch (error) {
      if (error instanceof ApiError) return error;
      throw error;
    }
  }));
}

/** All well: `status`. All refused: 400. Some of each: 207. */
function elements(reply: FastifyReply, status: number, results: readonly unknown[]): FastifyReply {
  const failures = results.filter((result) => result instanceof ApiError).length;
  const code = failures === 0 ? status : failures === results.length ? 400 : 207;
  return reply.code(code).send({ watch: results.map((result) => (result instanceof ApiError ? result.body() : result)) });
}
