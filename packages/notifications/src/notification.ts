import { isRecordId } from '@lockstep/record-log';
import { z } from 'zod';

import { NotificationError } from './errors.ts';

// insert, update and delete are what is sent; create and edit are what channels are registered for. Both are taken.
const operations = { insert: 'insert', create: 'insert', update: 'update', edit: 'update', delete: 'delete' } as const;

const schema = z.object({
  module: z.string().regex(/^\w{1,100}$/),
  // One that can be no record's says nothing of the others.
  ids: z.array(z.unknown()).min(1).max(10_000),
  operation: z.enum(['insert', 'create', 'update', 'edit', 'delete']).transform((operation) => operations[operation]),
  channel_id: z.union([z.string(), z.number().int()]).transform(String).pipe(z.string().regex(/^-?\d{1,19}$/)),
  token: z.string().max(256).nullish(),
  server_time: z.number().int().nonnegative().nullish(),
});

/** What the CRM's HTTP call says: something happened to these records of this module. It carries no record and no version. */
export type Notification = {
  readonly module: string;
  /** Those that can be a record's; there may be none. */
  readonly ids: readonly string[];
  /** How many others there were: malformed, or above 2^63 - 1. */
  readonly impossibleIds: number;
  readonly operation: 'insert' | 'update' | 'delete';
  readonly channelId: string;
  readonly token: string;
  /** When the CRM sent it, epoch milliseconds; not the record's `Modified_Time`. Missing in old forms. */
  readonly serverTimeMs: number | null;
};

/**
 * Reads a notification's body. Keys that are not needed (affected fields and values, uris) are ignored: they are partial
 * and carry no version.
 * @throws {NotificationError} saying which key is wrong.
 * @see CRM API reference, "Notifications: enable", callback body
 */
export function parseNotification(body: string): Notification {
  const parsed = schema.safeParse(json(body));
  if (!parsed.success) {
    throw new NotificationError(`no notification: ${parsed.error.issues.map((i) => `${i.path.join('.') || 'body'}: ${i.message}`).join('; ')}`);
  }
  const { module, ids, operation, channel_id, token, server_time } = parsed.data;
  const possible = ids.filter((id): id is string => typeof id === 'string' && isRecordId(id));
  return { module, ids: possible, impossibleIds: ids.length - possible.length, operation, channelId: channel_id, token: token ?? '', serverTimeMs: server_time ?? null };
}

/** @throws {NotificationError} when the text is no JSON. */
export function json(body: string): unknown {
  try {
    return JSON.parse(body);
  } catch (cause) {
    throw new NotificationError('the body is no JSON', { cause });
  }
}
