import type { FastifyInstance } from 'fastify';

import type { FieldSpec } from '../catalogue/field-spec.ts';
import { select } from '../query/select.ts';
import { keyOf } from '../record-ids.ts';
import { cutText, jsonValue } from '../render/json.ts';
import type { LiveRecord } from '../store/live-record.ts';
import { parseInstant } from '../instants.ts';
import { fullTextRoutes } from './full-texts.ts';
import { boundParams, following, listFields, listRequest, PageTokens } from './record-list.ts';
import { nothing, paramsOf, storeOf, type Version, type World } from './world.ts';

type ByModule = { Params: { module: string } };
type ById = { Params: { module: string; id: string } };

/** What every record carries beside its fields. */
const flags = { $approval_state: 'approved', $in_merge: false, $field_states: null };

/** Kinds that only the reading of one record shows. */
const alone = new Set(['subform', 'multiselectlookup']);

/** Reading records: a list, one by its id, its rich text, their number. */
export function recordRoutes(app: FastifyInstance, world: World, version: Version): void {
  const tokens = new PageTokens(world.clock);
  const shown = (record: LiveRecord, fields: readonly FieldSpec[]) => ({
    ...Object.fromEntries(fields.map((field) => [field.apiName, world.standing.shown(record.id, field.apiName, cutText(field, jsonValue(field, record.get(field), world.instant), world.options.richTextCut))])),
    ...flags,
    ...(record.module.apiName === 'Leads' ? { $converted: record.value('Converted__s') } : {}),
  });

  app.get<ByModule>('/:module', async (request, reply) => {
    const store = storeOf(world, request.params.module);
    const params = paramsOf(request);
    const since = request.headers['if-modified-since'];
    const list = listRequest(store.module, params, since, tokens);
    const { records, hasMore } = await select(store, list.selection, world.clock.nowMs());
    const last = records.at(-1);
    if (last === undefined) return nothing(reply, since === undefined ? 204 : 304);
    const order = list.selection.order[0];
    const next = hasMore && order !== undefined ? tokens.issue(boundParams(store.module, params), following(last, order), list.before + records.length, list.page + 1) : null;
    const fields = list.fields.filter((field) => !alone.has(field.kind));
    return {
      data: records.map((record) => shown(record, fields)),
      info: {
        call: false,
        per_page: list.perPage,
        next_page_token: next?.token ?? null,
        count: records.length,
        sort_by: list.sortBy,
        page: list.page,
        previous_page_token: null,
        page_token_expiry: next === null ? null : world.instant(next.expiresAtMs),
        sort_order: list.sortOrder,
        email: false,
        more_records: hasMore,
      },
    };
  });

  app.get<ById>('/:module/:id(^\\d+$)', async (request, reply) => {
    const store = storeOf(world, request.params.module);
    const record = store.get(keyOf(request.params.id) ?? -1);
    if (record === undefined || store.isHidden(record.key)) return nothing(reply, 204);
    const { fields } = paramsOf(request);
    const since = parseInstant(request.headers['if-modified-since']);
    if (since !== undefined && record.modifiedMs <= since) return nothing(reply, 304);
    return { data: [shown(record, fields === undefined ? store.module.fields : listFields(store.module, fields))] };
  });

  fullTextRoutes(app, world, version);
  app.get<ByModule>('/:module/actions/count', async (request) => ({ count: storeOf(world, request.params.module).visibleCount }));
}
