import { isRecordId } from '@lockstep/record-log';
import { z } from 'zod';

import { NotificationError } from './errors.ts';
import { json, type Notification } from './notification.ts';

/** What happened, as the CRM put it; only `delete` is treated differently: it starts the reading of the deleted list. */
export type HintOperation = Notification['operation'];

/** A verified notification about one record, once it is stored: a hint to look. */
export type Hint = {
  readonly module: string;
  readonly id: string;
  readonly operation: HintOperation;
  readonly channelId: string;
  readonly serverTimeMs: number | null;
  /** When we received it, epoch milliseconds, our clock. */
  readonly receivedMs: number;
};

const schema = z.object({
  v: z.literal(1),
  module: z.string(),
  id: z.string().refine(isRecordId),
  operation: z.enum(['insert', 'update', 'delete']),
  channelId: z.string(),
  serverTimeMs: z.number().int().nullable(),
  receivedMs: z.number().int(),
});

/** One hint per record of a notification. */
export const hintsOf = ({ module, ids, operation, channelId, serverTimeMs }: Omit<Notification, 'impossibleIds'>, receivedMs: number): Hint[] =>
  [...new Set(ids)].map((id) => ({ module, id, operation, channelId, serverTimeMs, receivedMs }));

/** The value of a message of `crm.notifications`; its key is the record id. */
export const encodeHint = (hint: Hint): string => JSON.stringify({ v: 1, ...hint });

/** @throws {NotificationError} when the message is none that {@link encodeHint} wrote. */
export function decodeHint(value: Uint8Array | string): Hint {
  const text = typeof value === 'string' ? value : new TextDecoder().decode(value);
  const parsed = schema.safeParse(json(text));
  if (!parsed.success) throw new NotificationError('no stored hint', { cause: parsed.error });
  const { v: _, ...hint } = parsed.data;
  return hint;
}

const OWN_CHANNEL = 'lockstep';

/** A hint of our own: a look without a notification. */
export const ownHint = (module: string, id: string, receivedMs: number): Hint => ({ module, id, operation: 'update', channelId: OWN_CHANNEL, serverTimeMs: null, receivedMs });

/** Whether a hint came from {@link ownHint}. */
export const isOwnHint = ({ channelId }: Pick<Hint, 'channelId'>): boolean => channelId === OWN_CHANNEL;
