import type { FastifyInstance, FastifyReply } from 'fastify';

import { ApiError, invalidData } from '../errors.ts';
import { keyOf } from '../record-ids.ts';
import { cutText } from '../render/json.ts';
import type { LiveRecord } from '../store/live-record.ts';
import type { ModuleStore } from '../store/module-store.ts';
import { nothing, paramsOf, storeOf, type Version, type World } from './world.ts';

type ByModule = { Params: { module: string } };
type ById = { Params: { module: string; id: string } };

const MAX_IDS = 200;
const MAX_FIELDS = 8;

/**
 * `…/actions/fetch_full_data`: rich text in full, and nothing else. v6 has it for one record only.
 * @see CRM API reference, "Get rich text fields"
 */
export function fullTextRoutes(app: FastifyInstance, world: World, version: Version): void {
  const shown = (store: ModuleStore, ids: readonly string[], names: string | undefined, reply: FastifyReply) => {
    const rich = store.module.fields.filter(({ textarea }) => textarea === 'rich_text');
    const fields = names === undefined ? rich : names.split(',').map((name) => rich.find(({ apiName }) => apiName === name));
    if (fields.length > MAX_FIELDS) throw new ApiError(400, 'LIMIT_EXCEEDED', 'limit exceeded', { limit: MAX_FIELDS, param_name: 'fields' });
    const found = ids.map((id) => store.get(keyOf(id) ?? -1)).filter((record): record is LiveRecord => record !== undefined && !store.isHidden(record.key));
    if (found.length === 0) return nothing(reply, 204);
    const valuesOf = (record: LiveRecord) =>
      fields.map((field) => {
        if (field === undefined) throw invalidData({ param_name: 'fields' });
        return [field.apiName, cutText(field, record.get(field), world.options.fullTextCut)] as const;
      });
    return { data: found.map((record) => ({ id: record.id, ...Object.fromEntries(valuesOf(record)) })) };
  };

  app.get<ById>('/:module/:id(^\\d+$)/actions/fetch_full_data', async (request, reply) => shown(storeOf(world, request.params.module), [request.params.id], paramsOf(request).fields, reply));
  if (version < 7) return;
  app.get<ByModule>('/:module/actions/fetch_full_data', async (request, reply) => {
    const { ids, fields } = paramsOf(request);
    for (const [name, value] of Object.entries({ ids, fields })) if (value === undefined || value === '') throw new ApiError(400, 'REQUIRED_PARAM_MISSING', 'One of the expected parameter is missing', { param_name: name });
    const list = (ids ?? '').split(',');
    if (list.length > MAX_IDS) throw new ApiError(400, 'LIMIT_EXCEEDED', 'limit exceeded', { limit: MAX_IDS, param_name: 'ids' });
    return shown(storeOf(world, request.params.module), list, fields, reply);
  });
}
