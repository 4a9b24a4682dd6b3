import type { FastifyInstance } from 'fastify';

import type { Lookup } from '../catalogue/field-spec.ts';
import { ApiError, invalidData } from '../errors.ts';
import { parseInstant } from '../instants.ts';
import { idOf } from '../record-ids.ts';
import type { Deleted } from '../store/module-store.ts';
import { nothing, paramsOf, storeOf, type World } from './world.ts';

const DAY_MS = 86_400_000;
/** How long the list remembers. */
const lifeMs = { recycle: 60 * DAY_MS, permanent: 120 * DAY_MS } as const;

const shown = ({ name, id }: Lookup): Lookup => ({ name, id });

/** `GET /crm/v{n}/{module}/deleted`: the newest first. */
export function deletedRoutes(app: FastifyInstance, world: World): void {
  const row = ({ key, deletedMs, type, displayName, createdBy, deletedBy }: Deleted) => {
    const known = type === 'recycle';
    return {
      deleted_by: known ? shown(deletedBy) : null,
      id: idOf(key),
      display_name: known ? displayName : null,
      type,
      created_by: known ? shown(createdBy) : null,
      deleted_time: world.instant(deletedMs),
    };
  };

  app.get<{ Params: { module: string } }>('/:module/deleted', async (request, reply) => {
    const store = storeOf(world, request.params.module);
    const { type = 'all', page = '1', per_page = '200' } = paramsOf(request);
    if (!['all', 'recycle', 'permanent'].includes(type)) throw new ApiError(400, 'PATTERN_NOT_MATCHED', 'Please check whether the input values are correct', { param_name: 'type' });
    const [number, size] = [Number(page), Number(per_page)];
    if (!Number.isInteger(number) || number < 1) throw invalidData({ param_name: 'page' });
    if (!Number.isInteger(size) || size < 1 || size > 200) throw invalidData({ param_name: 'per_page' });
    const since = parseInstant(request.headers['if-modified-since']) ?? -Infinity;
    const now = world.clock.nowMs();
    const found = [...store.deleted()]
      .filter((deleted) => (type === 'all' || deleted.type === type) && deleted.deletedMs >= since && deleted.deletedMs > now - lifeMs[deleted.type])
      .toReversed();
    const rows = found.slice((number - 1) * size, number * size);
    if (rows.length === 0) return nothing(reply, 204);
    return { data: rows.map(row), info: { per_page: size, count: rows.length, page: number, more_records: found.length > number * size } };
  });
}
