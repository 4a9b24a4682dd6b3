import { type CatchUpRules, type ChannelFault, channelFault, deliveryHealthOf, type HeldChannel, isCoarser, isEarlier, isListDue, JUDGED_OVER_MS, type JudgedReading, lateAfterMs, type ListedChannel, listedFromMs } from '@lockstep/completeness';
import { channelEvents, type CrmClient, CrmError } from '@lockstep/crm-client';
import type { ModuleDefinition } from '@lockstep/modules';
import type { CatchUpRow, CatchUps, ChannelRow } from '@lockstep/postgres';
import { realTime, type Time } from '@lockstep/telemetry';

import type { PlanBudget } from './credit-watch.ts';
import { enableChannel, isRenewalDue, type RenewChannelDeps, wantedChannel } from './renew-channel.ts';
import type { Reporter } from './reporter.ts';
import { messageOf } from './steps.ts';

/*
 * A channel is enabled again
 * - when there is none, its secret has changed, or its time has come (`renew-channel.ts`);
 * - when the CRM's list shows that it is lost or ends too soon: incident `channel-lost` or `channel-shortened`, closed by the
 *   next list that shows it right;
 * - when catch-ups keep finding changes without a notification: incident `channel-deaf`, closed when they do not any more.
 */

export type ChannelKeeperDeps = RenewChannelDeps & {
  readonly crm: Pick<CrmClient, 'listChannels' | 'time'>;
  readonly catchUps: Pick<CatchUps, 'readSince'>;
  readonly catchUpRules: CatchUpRules;
  /** Without it nothing is held back. */
  readonly budget?: Pick<PlanBudget, 'state'>;
  readonly time?: Pick<Time, 'elapsed'>;
};

/** How a module's channel is. `isOpened`: it has, or had, one, so that a load may begin. */
export type KeepResult = { readonly isOpened: boolean; readonly failure: unknown };

/** The CRM's list, when it was read by the database's clock, and by the CRM's. */
type List = { readonly readMs: number; readonly crmMs: number; readonly channels: readonly ListedChannel[] };

/** What this process remembers of a module's channel; the next leader begins without it. Moments are the monotonic clock's. */
type ChannelState = { wrongInRow: number; judged: List | null; judgedAt: number; failures: number; retryAt: number; failure: unknown };

const LIST_RETRY_MS = 60_000;
const JUDGE_EVERY_MS = 60_000;
const RESUBSCRIBE_AFTER_MS = 3_600_000;
const MAX_RETRY_MS = 60_000;
/** One failure in a row is often chance, and is repeated within a second. */
const MIN_FAILURES = 3;

/** Keeps the channels of all modules open, and sees to it that they do what they are there for. */
export class ChannelKeeper {
  readonly #deps: ChannelKeeperDeps;
  readonly #reporter: Reporter;
  readonly #states = new Map<string, ChannelState>();
  /** What each channel is to be. Its id and token are signatures, and needed in every round. */
  readonly #wanted = new Map<string, ReturnType<typeof wantedChannel>>();
  #list: List | null = null;
  #listTriedAt = Number.NEGATIVE_INFINITY;
  #coarserAt = Number.NEGATIVE_INFINITY;

  constructor(deps: ChannelKeeperDeps, reporter: Reporter) {
    this.#deps = deps;
    this.#reporter = reporter;
  }

  /** Looks after the module's channel. A failure is returned, again in each round until the call has been repeated. */
  async keep({ apiName }: ModuleDefinition): Promise<KeepResult> {
    const known = (await this.#deps.channels.all()).find(({ module }) => module === apiName);
    const state = this.#stateOf(apiName);
    const elapsedMs = this.#elapsedMs();
    if (elapsedMs < state.retryAt) return { isOpened: known !== undefined, failure: state.failure };
    try {
      await this.#enableWhenNeeded(apiName, known, state);
      if (state.failures >= MIN_FAILURES) await this.#reporter.close(apiName, 'channel-lost');
      state.failures = 0;
      return { isOpened: true, failure: null };
    } catch (failure) {
      state.failures += 1;
      state.failure = failure;
      state.retryAt = elapsedMs + Math.min(500 * 2 ** state.failures, MAX_RETRY_MS);
      if (state.failures >= MIN_FAILURES) await this.#reporter.open(apiName, 'channel-lost', refusedDetails(known, failure));
      return { isOpened: known !== undefined, failure };
    }
  }

  async #enableWhenNeeded(module: string, known: ChannelRow | undefined, state: ChannelState): Promise<void> {
    if (known === undefined || isRenewalDue(known, this.#wantedFor(module).channelId, this.#deps.now(), this.#deps.crm.time())) {
      if (known !== undefined) await this.#reportEnded(known);
      return await this.#enable(module, known);
    }
    const list = await this.#listAbout(known, state);
    if (list !== null && state.judged !== list) {
      const fault = channelFault(this.#heldAs(known), list.channels, list.crmMs);
      await this.#reportFault(known, fault);
      if (fault !== null) await this.#enable(module, known);
      state.wrongInRow = fault === null ? 0 : state.wrongInRow + 1;
      state.judged = list;
    } else if (await this.#isToBeResubscribed(known, state)) await this.#enable(module, known);
  }

  async #enable(module: string, known: ChannelRow | undefined): Promise<void> {
    const { grantedUntil, requestedUntil } = await enableChannel(this.#deps, module, known);
    if (!isEarlier(grantedUntil.getTime(), requestedUntil.getTime())) return;
    await this.#reporter.open(module, 'channel-shortened', `the channel was requested until ${requestedUntil.toISOString()}, and granted until ${grantedUntil.toISOString()}`);
  }

  async #reportEnded({ module, grantedUntil }: ChannelRow): Promise<void> {
    if (grantedUntil.getTime() <= this.#deps.crm.time().earliestMs) await this.#reporter.open(module, 'channel-lost', `the channel ended at ${grantedUntil.toISOString()}, and was not renewed in time`);
  }

  async #reportFault({ module, grantedUntil, requestedUntil }: ChannelRow, fault: ChannelFault | null): Promise<void> {
    if (fault !== null) await this.#reporter.open(module, `channel-${fault.kind}`, fault.details);
    if (fault?.kind !== 'lost') await this.#reporter.close(module, 'channel-lost');
    if (fault === null && !isEarlier(grantedUntil.getTime(), requestedUntil.getTime())) await this.#reporter.close(module, 'channel-shortened');
  }

  /** The CRM's list, read once for all modules; null while there is none that is sure to show this channel. */
  async #listAbout({ enabledAt }: ChannelRow, { wrongInRow }: ChannelState) {
    const history = { enabledMs: enabledAt.getTime(), wrongInRow };
    const nowMs = this.#deps.now().getTime();
    // A reading that seems to lie in the future was made before the clock was set back.
    const listedMs = this.#list === null || this.#list.readMs > nowMs ? null : this.#list.readMs;
    if (isListDue(history, listedMs, nowMs) && this.#elapsedMs() >= this.#listTriedAt + LIST_RETRY_MS) await this.#readList(nowMs);
    return this.#list !== null && this.#list.readMs >= listedFromMs(history) ? this.#list : null;
  }

  async #readList(readMs: number): Promise<void> {
    const { crm, log } = this.#deps;
    this.#listTriedAt = this.#elapsedMs();
    const crmMs = crm.time().earliestMs;
    try {
      const channels = await crm.listChannels();
      this.#list = { readMs, crmMs, channels: channels.map(({ expiresAt, ...channel }) => ({ ...channel, endsMs: expiresAt.getTime() })) };
    } catch (error) {
      if (error instanceof CrmError && error.code === 'CRM_NOT_SUBSCRIBED') this.#list = { readMs, crmMs, channels: [] };
      else log.warn({ err: error }, 'the list of channels cannot be read; it will be tried again');
    }
  }

  /** Judges by the latest catch-ups, once a minute. @returns whether the channel is silent, and was not enabled for an hour. */
  async #isToBeResubscribed({ module, enabledAt }: ChannelRow, state: ChannelState): Promise<boolean> {
    const { catchUps, catchUpRules } = this.#deps;
    const nowMs = this.#deps.now().getTime();
    if (this.#wasCoarser() || this.#elapsedMs() < state.judgedAt + JUDGE_EVERY_MS) return false;
    const pauseMs = lateAfterMs(catchUpRules);
    const readings = await catchUps.readSince(module, new Date(nowMs - JUDGED_OVER_MS - pauseMs));
    const health = deliveryHealthOf(readings.flatMap(readingOf), { enabledMs: enabledAt.getTime(), nowMs, pauseMs });
    if (health.state === 'healthy') await this.#reporter.close(module, 'channel-deaf');
    if (health.state === 'silent') await this.#reporter.open(module, 'channel-deaf', `catch-ups found ${health.unhinted} changes without a notification, and ${health.hinted} with one`);
    state.judgedAt = this.#elapsedMs();
    return health.state === 'silent' && nowMs >= enabledAt.getTime() + RESUBSCRIBE_AFTER_MS;
  }

  /** Where hints wait for credits, or are dropped, catch-ups find what was notified: that says nothing of the channel. */
  #wasCoarser(): boolean {
    const bucket = this.#deps.budget?.state() ?? null;
    if (bucket !== null && isCoarser(bucket)) this.#coarserAt = this.#elapsedMs();
    return this.#elapsedMs() < this.#coarserAt + JUDGED_OVER_MS;
  }

  #heldAs({ module, grantedUntil }: ChannelRow): HeldChannel {
    return { ...this.#wantedFor(module), events: channelEvents(module), endsMs: grantedUntil.getTime() };
  }

  #wantedFor(module: string): ReturnType<typeof wantedChannel> {
    const wanted = this.#wanted.get(module) ?? wantedChannel(this.#deps, module);
    this.#wanted.set(module, wanted);
    return wanted;
  }

  #stateOf(module: string): ChannelState {
    const known = this.#states.get(module);
    if (known !== undefined) return known;
    const never = Number.NEGATIVE_INFINITY;
    const state: ChannelState = { wrongInRow: 0, judged: null, judgedAt: never, failures: 0, retryAt: never, failure: null };
    this.#states.set(module, state);
    return state;
  }

  #elapsedMs(): number {
    return (this.#deps.time ?? realTime).elapsed();
  }
}

/** What is the matter with a channel that cannot be enabled */
const refusedDetails = (known: ChannelRow | undefined, failure: unknown): string =>
  `the channel can be neither enabled nor extended${known === undefined ? ', so the module is not read' : `; it ends at ${known.grantedUntil.toISOString()}`}: ${messageOf(failure)}`;

const readingOf = ({ wantedAt, from, startedAt, result: { rows, seen, unhinted } }: CatchUpRow): JudgedReading[] =>
  startedAt === null ? [] : [{ wantedMs: wantedAt.getTime(), fromMs: from.getTime(), startedMs: startedAt.getTime(), rows, seen, unhinted }];
