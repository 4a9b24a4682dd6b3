import type { FastifyInstance } from 'fastify';

import { jsonBody } from '../api/json-body.ts';
import { nothing, type Version, type World } from '../api/world.ts';
import { ApiError, mandatoryNotFound } from '../errors.ts';
import { select } from '../query/select.ts';
import { cutText, jsonValue } from '../render/json.ts';
import { checkedQuery } from './checked.ts';
import { parseQuery } from './parser.ts';

/** Credits by the rows a query may return. */
const creditsOf = (limit: number): number => (limit <= 200 ? 1 : limit <= 1000 ? 2 : 3);

/** `POST /crm/v{n}/coql`. Converted leads are among the rows. */
export function coqlRoutes(app: FastifyInstance, world: World, version: Version): void {
  app.post('/coql', async (request, reply) => {
    const text = jsonBody(request).select_query;
    if (typeof text !== 'string') throw mandatoryNotFound({ api_name: 'select_query', json_path: '$.select_query' });
    const query = parseQuery(text);
    const store = world.organisation.find(query.module);
    if (store === undefined) throw new ApiError(400, 'INVALID_QUERY', 'module given seems to be invalid', { module: query.module });
    const checked = checkedQuery(query, store.module, version);
    world.counters.add('coql', creditsOf(checked.limit));
    const { records, hasMore } = await select(store, checked, world.clock.nowMs());
    if (records.length === 0) return nothing(reply, 204);
    const id = store.module.byName.get('id');
    const columns = id === undefined || checked.columns.includes(id) ? checked.columns : [...checked.columns, id];
    const data = records.map((record) => Object.fromEntries(columns.map((field) => [field.apiName, world.standing.shown(record.id, field.apiName, cutText(field, jsonValue(field, record.get(field), world.instant), world.options.richTextCut))])));
    return { data, info: { count: data.length, more_records: hasMore } };
  });
}
