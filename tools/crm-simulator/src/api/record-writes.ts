import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';

import type { Lookup } from '../catalogue/field-spec.ts';
import { AdminError, ApiError, invalidData, mandatoryNotFound } from '../errors.ts';
import { parseInstant } from '../instants.ts';
import type { LiveRecord } from '../store/live-record.ts';
import type { ModuleStore } from '../store/module-store.ts';
import { isObject, type Json, jsonBody } from './json-body.ts';
import { paramsOf, storeOf, type World } from './world.ts';

type ByModule = { Params: { module: string } };
type ById = { Params: { module: string; id: string } };

const MAX_ROWS = 100;

/** Writing records: insert, update, delete; a hundred rows a call, each with its own answer. */
export function recordWriteRoutes(app: FastifyInstance, world: World): void {
  const written = (record: LiveRecord, message: string) => ({
    code: 'SUCCESS',
    details: {
      Modified_Time: world.instant(record.modifiedMs),
      Modified_By: by(record, 'Modified_By'),
      Created_Time: world.instant(record.createdMs),
      id: record.id,
      Created_By: by(record, 'Created_By'),
      $approval_state: 'approved',
    },
    message,
    status: 'success',
  });
  const update = (request: FastifyRequest, store: ModuleStore, id: string, row: Json) => {
    checkUnchanged(world, store, id, request.headers['if-modified-since']);
    const [record] = world.organisation.edit(store.module.apiName, [id], without(row, 'id'));
    return written(record as LiveRecord, 'record updated');
  };

  app.post<ByModule>('/:module', (request, reply) => {
    const store = storeOf(world, request.params.module);
    return rows(request, reply, 201, (row) => {
      const missing = store.module.fields.find((field) => field.mandatory && (row[field.apiName] ?? '') === '');
      if (missing !== undefined) throw mandatoryNotFound({ api_name: missing.apiName });
      return written(world.organisation.create(store.module.apiName, row), 'record added');
    });
  });
  app.put<ByModule>('/:module', (request, reply) => {
    const store = storeOf(world, request.params.module);
    return rows(request, reply, 200, (row) => {
      if (typeof row.id !== 'string') throw mandatoryNotFound({ api_name: 'id' });
      return update(request, store, row.id, row);
    });
  });
  app.put<ById>('/:module/:id(^\\d+$)', (request, reply) => {
    const store = storeOf(world, request.params.module);
    return rows(request, reply, 200, (row) => update(request, store, request.params.id, row));
  });

  const remove = (reply: FastifyReply, store: ModuleStore, ids: readonly string[]) => {
    if (ids.length === 0 || ids.length > MAX_ROWS) throw invalidData({ param_name: 'ids', maximum_length: MAX_ROWS });
    return answers(reply, 200, ids, (id) => {
      world.organisation.delete(store.module.apiName, id);
      return { code: 'SUCCESS', details: { id }, message: 'record deleted', status: 'success' };
    });
  };
  app.delete<ByModule>('/:module', (request, reply) => remove(reply, storeOf(world, request.params.module), paramsOf(request).ids?.split(',') ?? []));
  app.delete<ById>('/:module/:id(^\\d+$)', (request, reply) => remove(reply, storeOf(world, request.params.module), [request.params.id]));
}

/** A user as the replies to writes show one: without the e-mail address. */
function by(record: LiveRecord, field: 'Created_By' | 'Modified_By'): Lookup {
  const { name, id } = record.value(field) as Lookup;
  return { name, id };
}

const without = (row: Json, name: string): Json => Object.fromEntries(Object.entries(row).filter(([key]) => key !== name));

/** The optimistic guard of an update. @throws {ApiError} 412 `RECORD_MODIFIED` */
function checkUnchanged(world: World, store: ModuleStore, id: string, since: string | undefined): void {
  const sinceMs = parseInstant(since);
  if (sinceMs === undefined) return;
  if (world.organisation.record(store.module.apiName, id).modifiedMs > sinceMs) throw new ApiError(412, 'RECORD_MODIFIED', 'the record has been modified');
}

async function rows(request: FastifyRequest, reply: FastifyReply, status: number, work: (row: Json) => unknown): Promise<FastifyReply> {
  const { data } = jsonBody(request);
  if (!Array.isArray(data) || data.length === 0) throw mandatoryNotFound({ api_name: 'data', json_path: '$.data' });
  if (data.length > MAX_ROWS) throw invalidData({ api_name: 'data', maximum_length: MAX_ROWS, json_path: '$.data' });
  return answers(reply, status, data, (row: unknown) => {
    if (!isObject(row)) throw invalidData({ expected_data_type: 'jsonobject' });
    return work(row);
  });
}

/** One answer a row. A refusal of ours becomes the vendor's `INVALID_DATA`. */
function answers<T>(reply: FastifyReply, status: number, items: readonly T[], work: (item: T) => unknown): FastifyReply {
  let failures = 0;
  const data = items.map((item) => {
    try {
      return work(item);
    } catch (error) {
      failures++;
      if (error instanceof ApiError) return error.body();
      if (error instanceof AdminError) return invalidData({ reason: error.code }, error.message).body();
      throw error;
    }
  });
  const code = failures === 0 ? status : failures === items.length ? 400 : 207;
  return reply.code(code).send({ data });
}
