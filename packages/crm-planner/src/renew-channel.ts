import { isEarlier } from '@lockstep/completeness';
import { type CrmClient, CrmError } from '@lockstep/crm-client';
import type { ModuleDefinition } from '@lockstep/modules';
import { channelIdOf, channelToken, notifyPath } from '@lockstep/notifications';
import type { ChannelRow, Channels } from '@lockstep/postgres';
import type { Logger } from '@lockstep/telemetry';

import type { PlannerMetrics } from './metrics.ts';

export type RenewChannelDeps = {
  readonly channels: Channels;
  readonly crm: Pick<CrmClient, 'enableNotifications' | 'disableNotifications' | 'rules'>;
  readonly secret: string;
  readonly publicUrl: string;
  readonly now: () => Date;
  readonly log: Logger;
  readonly metrics: Pick<PlannerMetrics, 'renewals' | 'channelExpiry'>;
};

/** The source article's interval: a little less than the day that a channel lived on the first versions of the API. */
const RENEW_AFTER_MS = (23 * 60 + 55) * 60_000;

/** When to renew: after 23 h 55 min, or half of what was granted, whichever is sooner. */
export const renewalTime = (enabledAt: Date, grantedUntil: Date): Date =>
  new Date(Math.min(enabledAt.getTime() + RENEW_AFTER_MS, enabledAt.getTime() + (grantedUntil.getTime() - enabledAt.getTime()) / 2));

/** Whether the channel is to be enabled now: there is none, it is due, or its id is no longer ours (another secret). */
export const isRenewalDue = (channel: Pick<ChannelRow, 'renewAt' | 'channelId'> | undefined, channelId: string, now: Date): boolean =>
  channel === undefined || channel.channelId !== channelId || channel.renewAt.getTime() <= now.getTime();

/** The module's channel as it is to be, but for its end. */
export function wantedChannel({ secret, publicUrl }: Pick<RenewChannelDeps, 'secret' | 'publicUrl'>, module: string) {
  const channelId = channelIdOf(secret, module);
  return { channelId, module, notifyUrl: `${publicUrl}${notifyPath(secret)}`, token: channelToken(secret, channelId) };
}

/** Enables the module's channel, or extends it when that is due. Throws what the CRM's client throws. */
export async function renewChannel(deps: RenewChannelDeps, { apiName }: ModuleDefinition): Promise<void> {
  const known = (await deps.channels.all()).find(({ module }) => module === apiName);
  if (isRenewalDue(known, channelIdOf(deps.secret, apiName), deps.now())) await enableChannel(deps, apiName, known);
}

/**
 * Enables the module's channel, which extends one that is there: there is no moment without one. The whole object is sent
 * each time, and what was granted is read back: an expiry that the CRM does not like silently becomes one hour.
 *
 * A channel of another secret is disabled once the new one is there, and forgotten last, so that a crash in between only
 * repeats both calls.
 * @param known the module's channel so far.
 * @returns the channel as it was granted.
 */
export async function enableChannel(deps: RenewChannelDeps, module: string, known: ChannelRow | undefined): Promise<ChannelRow> {
  const { channels, crm, now, log, metrics } = deps;
  const wanted = wantedChannel(deps, module);
  const { channelId } = wanted;
  const enabledAt = now();
  const requestedUntil = new Date(enabledAt.getTime() + crm.rules.channelLifeMs);
  const { expiresAt: grantedUntil } = await crm.enableNotifications({ ...wanted, expiresAt: requestedUntil });
  if (known !== undefined && known.channelId !== channelId) await disableChannel(deps, known);
  const renewAt = renewalTime(enabledAt, grantedUntil);
  const channel = { module, channelId, requestedUntil, grantedUntil, renewAt, enabledAt, openedAt: known?.openedAt ?? enabledAt };
  await channels.save(channel);
  metrics.renewals.inc({ module });
  metrics.channelExpiry.set({ module }, grantedUntil.getTime() / 1000);
  log.info({ module, channelId, grantedUntil, renewAt, isShortened: isEarlier(grantedUntil.getTime(), requestedUntil.getTime()) }, 'channel enabled');
  return channel;
}

async function disableChannel({ crm, log }: RenewChannelDeps, { module, channelId }: ChannelRow): Promise<void> {
  try {
    await crm.disableNotifications([channelId]);
    log.info({ module, channelId }, 'the channel of a former secret was disabled');
  } catch (error) {
    if (!(error instanceof CrmError) || error.retryable) throw error;
    // It has ended already, or will by itself; until then its notifications are refused.
    if (error.code !== 'CRM_NOT_SUBSCRIBED') log.warn({ err: error, module, channelId }, 'the channel of a former secret cannot be disabled');
  }
}
