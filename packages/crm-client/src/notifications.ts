import { z } from 'zod';

import { CrmError, errorOf } from './errors.ts';
import { parseReply } from './json.ts';
import type { Transport } from './transport.ts';

/** A subscription channel to be had. */
export type WantedChannel = {
  /** Digits, chosen by us; the same id extends the channel. */
  readonly channelId: string;
  readonly module: string;
  /** At most 255 characters. */
  readonly notifyUrl: string;
  /** At most 50 characters; echoed in every notification. */
  readonly token: string;
  readonly expiresAt: Date;
};

/** A subscription channel as the CRM holds it. */
export type GrantedChannel = { readonly channelId: string; readonly module: string; readonly notifyUrl: string | null; readonly expiresAt: Date };

/** A channel as the list shows it; null for what it does not show. */
export type ListedChannel = GrantedChannel & { readonly token: string | null; readonly events: readonly string[] | null };

/** The events a module's channel is enabled for. */
export const channelEvents = (module: string): readonly string[] => [`${module}.create`, `${module}.edit`, `${module}.delete`];

const time = z.iso.datetime({ offset: true }).transform((text) => new Date(text));
const event = z.object({ channel_id: z.coerce.string(), resource_name: z.string(), channel_expiry: time });
const enabled = z.object({ watch: z.array(z.object({ code: z.string(), status: z.string(), details: z.unknown() })).min(1) });
const listed = z.object({
  watch: z.array(z.object({ channel_id: z.coerce.string(), resource_name: z.string(), channel_expiry: time, notify_url: z.string().nullish(), token: z.string().nullish(), events: z.array(z.string()).nullish() })),
  info: z.object({ more_records: z.boolean().default(false) }).default({ more_records: false }),
});

// The maximum of the reply's own form: whole seconds, with an offset.
const isoSeconds = (at: Date): string => `${at.toISOString().slice(0, 19)}+00:00`;

/**
 * Opens a channel for create, edit and delete, or extends the one with the same id: the whole object is sent, so repeating
 * it is idempotent.
 * @returns what was granted: an expiry that is too far silently becomes one hour, so it must be read back.
 * @see CRM API reference, "Notifications: enable"
 */
export async function enableNotifications(transport: Transport, base: string, wanted: WantedChannel): Promise<GrantedChannel> {
  const call = `POST ${base}/actions/watch`;
  const { text } = await transport.call({
    method: 'POST',
    path: `${base}/actions/watch`,
    body: {
      watch: [
        {
          channel_id: wanted.channelId,
          events: channelEvents(wanted.module),
          notify_url: wanted.notifyUrl,
          token: wanted.token,
          channel_expiry: isoSeconds(wanted.expiresAt),
          return_affected_field_values: false,
          notify_on_related_action: false,
        },
      ],
    },
  });
  const reply = parseReply(call, enabled, text);
  const [first] = reply.watch;
  const details = z.object({ events: z.array(event).min(1) }).safeParse(first?.details);
  const granted = details.data?.events.find(({ resource_name }) => resource_name === wanted.module);
  if (first?.code !== 'SUCCESS') throw errorOf(call, 400, { watch: [first] });
  if (granted === undefined) throw new CrmError(`${call}: no channel of ${wanted.module} in the answer`, 'CRM_REPLY_UNEXPECTED');
  return { channelId: granted.channel_id, module: granted.resource_name, notifyUrl: wanted.notifyUrl, expiresAt: granted.channel_expiry };
}

/** Pages of 200 channels. */
const MAX_CHANNEL_PAGES = 50;

/** Every channel of the calling user. @throws {CrmError} `CRM_REPLY_UNEXPECTED` also where the list does not end. */
export async function listChannels(transport: Transport, base: string): Promise<ListedChannel[]> {
  const channels: ListedChannel[] = [];
  for (let page = 1; page <= MAX_CHANNEL_PAGES; page += 1) {
    const { status, text } = await transport.call({ method: 'GET', path: `${base}/actions/watch`, query: { page: String(page), per_page: '200' } });
    if (status === 204) return channels;
    const { watch, info } = parseReply(`GET ${base}/actions/watch`, listed, text);
    for (const { channel_id: channelId, resource_name: module, channel_expiry: expiresAt, notify_url: notifyUrl = null, token = null, events = null } of watch) {
      channels.push({ channelId, module, notifyUrl, expiresAt, token, events });
    }
    if (!info.more_records) return channels;
  }
  throw new CrmError(`GET ${base}/actions/watch: more channels follow after ${MAX_CHANNEL_PAGES} pages: the list does not end`, 'CRM_REPLY_UNEXPECTED');
}

/** Ends channels. @throws {CrmError} `CRM_NOT_SUBSCRIBED` when one is unknown. */
export async function disableNotifications(transport: Transport, base: string, channelIds: readonly string[]): Promise<void> {
  await transport.call({ method: 'DELETE', path: `${base}/actions/watch`, query: { channel_ids: channelIds.join(',') } });
}
