import { hasPassed, isEarlier } from '@lockstep/completeness';
import { type CrmClient, CrmError, type CrmTime } from '@lockstep/crm-client';
import type { ModuleDefinition } from '@lockstep/modules';
import { channelIdOf, channelToken, notifyPath } from '@lockstep/notifications';
import type { ChannelRow, Channels } from '@lockstep/postgres';
import type { Logger } from '@lockstep/telemetry';

import type { PlannerMetrics } from './metrics.ts';

export type RenewChannelDeps = {
  readonly channels: Channels;
  readonly crm: Pick<CrmClient, 'enableNotifications' | 'disableNotifications' | 'rules' | 'time'>;
  readonly secret: string;
  readonly publicUrl: string;
  /** The database's time. */
  readonly now: () => Date;
  readonly log: Logger;
  readonly metrics: Pick<PlannerMetrics, 'renewals' | 'channelExpiry'>;
};

/** The source article's interval: a little less than the day that a channel lived on the first versions of the API. */
const RENEW_AFTER_MS = (23 * 60 + 55) * 60_000;

/** A channel whose end seems to have come already, by clocks that contradict each other, is not renewed without a pause. */
const RENEW_AFTER_AT_LEAST_MS = 5 * 60_000;

/** How long after it was enabled a channel is renewed: after 23 h 55 min, or half of the life that was granted, whichever is sooner. */
export const renewAfterMs = (livesMs: number): number => Math.max(RENEW_AFTER_AT_LEAST_MS, Math.min(RENEW_AFTER_MS, livesMs / 2));

type KnownChannel = Pick<ChannelRow, 'renewAt' | 'channelId' | 'enabledAt' | 'grantedUntil'>;

/**
 * Whether the channel is to be enabled now: there is none, its id is no longer ours (another secret), or it is due by either clock:
 * the database's, which noted when, or the CRM's, which ends it.
 */
export function isRenewalDue(channel: KnownChannel | undefined, channelId: string, now: Date, crm: Pick<CrmTime, 'earliestMs'>): boolean {
  if (channel === undefined || channel.channelId !== channelId) return true;
  const { enabledAt, renewAt, grantedUntil } = channel;
  const afterMs = renewAt.getTime() - enabledAt.getTime();
  return hasPassed(enabledAt.getTime(), afterMs, now.getTime()) || (crm.earliestMs >= grantedUntil.getTime() && hasPassed(enabledAt.getTime(), RENEW_AFTER_AT_LEAST_MS, now.getTime()));
}

/** The module's channel as it is to be, but for its end. */
export function wantedChannel({ secret, publicUrl }: Pick<RenewChannelDeps, 'secret' | 'publicUrl'>, module: string) {
  const channelId = channelIdOf(secret, module);
  return { channelId, module, notifyUrl: `${publicUrl}${notifyPath(secret)}`, token: channelToken(secret, channelId) };
}

/** Enables the module's channel, or extends it when that is due. Throws what the CRM's client throws. */
export async function renewChannel(deps: RenewChannelDeps, { apiName }: ModuleDefinition): Promise<void> {
  const known = (await deps.channels.all()).find(({ module }) => module === apiName);
  if (isRenewalDue(known, channelIdOf(deps.secret, apiName), deps.now(), deps.crm.time())) await enableChannel(deps, apiName, known);
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
  // The CRM's time, and not later than it is: an end beyond the maximum silently becomes one hour.
  const { earliestMs } = crm.time();
  const requestedUntil = new Date(earliestMs + crm.rules.channelLifeMs);
  const { expiresAt: grantedUntil } = await crm.enableNotifications({ ...wanted, expiresAt: requestedUntil });
  if (known !== undefined && known.channelId !== channelId) await disableChannel(deps, known);
  const renewAt = new Date(enabledAt.getTime() + renewAfterMs(grantedUntil.getTime() - crm.time().latestMs));
  const channel = { module, channelId, requestedUntil, grantedUntil, renewAt, enabledAt, openedAt: known?.openedAt ?? new Date(earliestMs) };
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
