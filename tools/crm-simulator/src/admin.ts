import { Readable } from 'node:stream';

import type { FastifyInstance } from 'fastify';
import { z } from 'zod';

import { isDriven } from './clock.ts';
import { AdminError } from './errors.ts';
import { utcText } from './instants.ts';
import type { SimulatorCore } from './simulator-core.ts';
import { truthOf } from './render/truth.ts';
import type { Refusal } from './standing-faults.ts';

type ByModule = { Params: { module: string } };
type ById = { Params: { module: string; id: string } };

const fields = z.record(z.string(), z.unknown());
const probability = z.number().min(0).max(1).optional();
const milliseconds = z.number().min(0).max(3_600_000).optional();
const rate = z.number().min(0).max(5000).optional();
const schemas = {
  massEdit: z.strictObject({ module: z.string(), ids: z.array(z.string()).optional(), first: z.number().int().positive().optional(), silent: z.boolean().default(false), keepsTime: z.boolean().default(false), modifiedTime: z.iso.datetime({ offset: true }).optional(), fields }),
  merge: z.strictObject({ into: z.string(), movesReferrers: z.boolean().default(false) }),
  hidden: z.strictObject({ module: z.string(), ids: z.array(z.string()).optional(), first: z.number().int().positive().optional(), hidden: z.boolean() }),
  restore: z.strictObject({ silent: z.boolean().default(false) }),
  traffic: z.strictObject({ editsPerSecond: rate, createsPerSecond: rate, deletesPerSecond: rate, modules: z.array(z.string()).optional(), seed: z.number().int().optional() }),
  faults: z.strictObject({
    drop: probability,
    double: probability,
    reorder: probability,
    holdBackMs: milliseconds,
    noise: probability,
    serverError: probability,
    htmlError: probability,
    tooMany: probability,
    cut: probability,
    slow: probability,
    slowMs: milliseconds,
    staleMs: milliseconds,
    truncatedResult: probability,
    skewMs: milliseconds,
    dateAheadMs: z.number().optional(),
    shortExpiry: z.boolean().optional(),
  }),
  refusal: z.strictObject({ method: z.string().optional(), url: z.string().optional(), body: z.string().optional(), status: z.number().int().min(400).max(599), code: z.string(), message: z.string().default('refused'), details: z.record(z.string(), z.unknown()).default({}) }),
  shown: z.strictObject({ module: z.string(), id: z.string(), field: z.string(), value: z.unknown().optional() }),
  clock: z.union([z.strictObject({ advanceMs: z.number().min(0) }), z.strictObject({ stepMs: z.number() })]),
  since: z.object({ since: z.coerce.number().default(0), after: z.coerce.number().default(0), limit: z.coerce.number().int().max(100_000).default(10_000) }),
};

/** The surface the vendor does not have: `/__simulator/…`. Needs no token. */
export function adminRoutes(app: FastifyInstance, core: SimulatorCore): void {
  const { organisation } = core;

  app.get<ById>('/records/:module/:id', async ({ params }) => truthOf(organisation.record(params.module, params.id)));
  app.post<ById>('/records/:module/:id', async ({ params, body }) => truthOf(core.editRecord(params.module, params.id, read(fields, body))));
  app.post<ByModule>('/records/:module', async ({ params, body }, reply) => reply.code(201).send(truthOf(core.createRecord(params.module, read(fields, body)))));
  app.delete<ById & { Querystring: { permanent?: string } }>('/records/:module/:id', async ({ params, query }) =>
    core.deletedView(organisation.delete(params.module, params.id, query.permanent === 'true' ? 'permanent' : 'recycle')));
  app.post<ById>('/records/:module/:id/restore', async ({ params, body }) => truthOf(core.restoreRecord(params.module, params.id, read(schemas.restore, body ?? '{}').silent)));
  app.post<ById>('/records/Leads/:id/convert', async ({ params }) => truthOf(core.convertLead(params.id)));
  app.post<ById>('/records/:module/:id/merge', async ({ params, body }) => {
    const { into, movesReferrers } = read(schemas.merge, body);
    return core.deletedView(core.mergeRecord(params.module, params.id, into, movesReferrers));
  });
  app.post('/hidden', async ({ body }) => {
    const { module, ids, first = 1000, hidden } = read(schemas.hidden, body);
    const chosen = ids ?? core.firstIds(module, first);
    core.setHidden(module, chosen, hidden);
    return { [hidden ? 'hidden' : 'shown']: chosen.length };
  });
  app.post('/mass-edit', async ({ body }) => {
    const { module, ids, first, silent: isSilent, keepsTime, modifiedTime, fields: values } = read(schemas.massEdit, body);
    const edited = core.massEdit(module, ids ?? core.firstIds(module, first ?? 1000), values, { isSilent, keepsTime, ...(modifiedTime === undefined ? {} : { modifiedMs: Date.parse(modifiedTime) }) });
    const [record] = edited;
    return { edited: edited.length, modifiedTime: record === undefined ? null : utcText(record.modifiedMs) };
  });

  app.get<ByModule>('/truth/:module', async ({ params }, reply) => {
    organisation.store(params.module);
    return reply.type('application/x-ndjson').send(Readable.from(core.truthLines(params.module)));
  });
  app.get<ByModule>('/deleted/:module', async ({ params }) => [...organisation.store(params.module).deleted()].map((deleted) => core.deletedView(deleted)));
  app.get<ByModule>('/ids/:module', async ({ params, query }) => core.firstIds(params.module, Number((query as Record<string, string>).first ?? 100)));

  app.get('/counters', async () => core.counters());
  app.get('/traffic', async () => core.traffic.status());
  app.post('/traffic', async ({ body }) => {
    core.traffic.start(defined(read(schemas.traffic, body)));
    return core.traffic.status();
  });
  app.delete('/traffic', async () => {
    core.traffic.stop();
    return core.traffic.status();
  });
  app.get('/traffic/edits', async ({ query }) => {
    const { since, after, limit } = read(schemas.since, query);
    return core.log.since(since, after, limit);
  });
  app.get('/history', async ({ query }) => {
    const { after, limit } = read(schemas.since, query);
    return core.log.history(after, limit);
  });

  app.get('/faults', async () => core.setFaults({}));
  app.post('/faults', async ({ body }) => core.setFaults(defined(read(schemas.faults, body))));
  app.get('/refusals', async () => core.standing.refusals());
  app.post('/refusals', async ({ body }) => ({ id: core.standing.refuse(defined(read(schemas.refusal, body)) as Refusal) }));
  app.delete<{ Params: { id: string } }>('/refusals/:id', async ({ params }) => core.standing.lift(Number(params.id)));
  app.post('/shown', async ({ body }) => {
    const { module, id, field, value } = read(schemas.shown, body);
    core.standing.showAs(organisation.record(module, id).id, field, value);
    return { shown: id };
  });
  app.delete<{ Params: { id: string } }>('/channels/:id', async ({ params }) => {
    core.loseChannel(params.id);
    return { lost: params.id };
  });
  app.delete('/tokens', async () => {
    core.tokens.revokeAll();
    return { revoked: true };
  });
  app.get('/clock', async () => ({ nowMs: core.clock.nowMs(), driven: isDriven(core.clock) }));
  app.post('/clock', async ({ body }) => {
    const asked = read(schemas.clock, body);
    if ('stepMs' in asked) {
      core.clock.step(asked.stepMs);
      return { nowMs: core.clock.nowMs(), driven: isDriven(core.clock) };
    }
    if (!isDriven(core.clock)) throw new AdminError(409, 'WRONG_REQUEST', 'the clock is the machine\'s; start with a driven one');
    await core.clock.advance(asked.advanceMs);
    return { nowMs: core.clock.nowMs(), driven: true };
  });
}

/** @throws {AdminError} `WRONG_REQUEST` saying which key is wrong. */
function read<T>(schema: z.ZodType<T>, given: unknown): T {
  const result = schema.safeParse(typeof given === 'string' ? parsed(given) : given);
  if (result.success) return result.data;
  throw new AdminError(400, 'WRONG_REQUEST', result.error.issues.map((issue) => `${issue.path.join('.') || 'body'}: ${issue.message}`).join('; '));
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

type Defined<T> = { [K in keyof T]?: Exclude<T[K], undefined> };
const defined = <T extends object>(object: T): Defined<T> => Object.fromEntries(Object.entries(object).filter(([, value]) => value !== undefined)) as Defined<T>;
