import type { CrmClient } from '@lockstep/crm-client';
import type { ModuleDefinition } from '@lockstep/modules';
import { channelIdOf, channelToken, notifyPath } from '@lockstep/notifications';
import type { ChannelRow, Channels } from '@lockstep/postgres';
import type { Logger } from '@lockstep/telemetry';

import type { PlannerMetrics } from './metrics.ts';

export type RenewChannelDeps = {
  readonly channels: Channels;
  readonly crm: Pick<CrmClient, 'enableNotifications' | 'rules'>;
  readonly secret: string;
  readonly publicUrl: string;
  readonly now: () => Date;
  readonly log: Logger;
  readonly metrics: PlannerMetrics;
};

/** The source article's interval: a little less than the day that a channel lived on the first versions of the API. */
const RENEW_AFTER_MS = (23 * 60 + 55) * 60_000;
/** What the CRM rounds off, and time zones cut to minutes. */
const TOLERANCE_MS = 60_000;

/** When to renew: after 23 h 55 min, or half of what was granted, whichever is sooner. */
export const renewalTime = (enabledAt: Date, grantedUntil: Date): Date =>
  new Date(Math.min(enabledAt.getTime() + RENEW_AFTER_MS, enabledAt.getTime() + (grantedUntil.getTime() - enabledAt.getTime()) / 2));

/** Whether the channel is to be enabled now: there is none, it is due, or its id is no longer ours (another secret). */
export const isRenewalDue = (channel: Pick<ChannelRow, 'renewAt' | 'channelId'> | undefined, channelId: string, now: Date): boolean =>
  channel === undefined || channel.channelId !== channelId || channel.renewAt.getTime() <= now.getTime();

/**
 * Enables the module's channel, or extends it when that is due. The whole object is sent each time, and what was granted is
 * read back: an expiry that the CRM does not like silently becomes one hour.
 * @returns whether the module has a channel from now on; throws what the CRM's client throws.
 */
export async function renewChannel(deps: RenewChannelDeps, module: ModuleDefinition, force = false): Promise<void> {
  const { channels, crm, secret, publicUrl, now, log, metrics } = deps;
  const channelId = channelIdOf(secret, module.apiName);
  const known = (await channels.all()).find((channel) => channel.module === module.apiName);
  if (!force && !isRenewalDue(known, channelId, now())) return;
  const enabledAt = now();
  const requestedUntil = new Date(enabledAt.getTime() + crm.rules.channelLifeMs);
  const granted = await crm.enableNotifications({
    channelId,
    module: module.apiName,
    notifyUrl: `${publicUrl}${notifyPath(secret)}`,
    token: channelToken(secret, channelId),
    expiresAt: requestedUntil,
  });
  const grantedUntil = granted.expiresAt;
  const renewAt = renewalTime(enabledAt, grantedUntil);
  await channels.save({ module: module.apiName, channelId, requestedUntil, grantedUntil, renewAt, enabledAt, openedAt: known?.openedAt ?? enabledAt });
  metrics.renewals.inc({ module: module.apiName });
  metrics.channelExpiry.set({ module: module.apiName }, grantedUntil.getTime() / 1000);
  const isShortened = grantedUntil.getTime() < requestedUntil.getTime() - TOLERANCE_MS;
  log[isShortened ? 'warn' : 'info']({ module: module.apiName, channelId, grantedUntil, renewAt, isShortened }, 'channel enabled');
}
