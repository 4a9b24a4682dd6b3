/*
 * Whether a channel does what it is there for. Nothing depends on it: catch-ups find every change. But without a channel a
 * change takes minutes instead of a second, and the CRM does not report that a channel has gone.
 */

/** A channel as it was requested and granted. */
export type HeldChannel = {
  readonly channelId: string;
  readonly notifyUrl: string;
  readonly token: string;
  readonly events: readonly string[];
  /** The granted end, epoch milliseconds. */
  readonly endsMs: number;
};

/** A channel as the CRM lists it; null for what the list does not show. */
export type ListedChannel = {
  readonly channelId: string;
  readonly notifyUrl: string | null;
  readonly token: string | null;
  readonly events: readonly string[] | null;
  readonly endsMs: number;
};

/** What is wrong with a channel, and how that shows. */
export type ChannelFault = { readonly kind: 'lost' | 'shortened'; readonly details: string };

/** What the CRM rounds off, and time zones cut to minutes. */
const TOLERANCE_MS = 60_000;

/** Whether one end is earlier than another by more than rounding. */
export const isEarlier = (endsMs: number, wantedMs: number): boolean => endsMs < wantedMs - TOLERANCE_MS;

/** What is wrong with a channel of ours, given everything that the CRM lists; null when nothing is. */
export function channelFault(held: HeldChannel, listed: readonly ListedChannel[], nowMs: number): ChannelFault | null {
  const lost = (details: string): ChannelFault => ({ kind: 'lost', details });
  const found = listed.find(({ channelId }) => channelId === held.channelId);
  if (found === undefined) return lost('the CRM does not list the channel');
  if (found.endsMs <= nowMs) return lost(`the channel ended at ${utc(found.endsMs)}`);
  if (found.notifyUrl !== null && found.notifyUrl !== held.notifyUrl) return lost('the channel notifies another URL');
  if (found.token !== null && found.token !== held.token) return lost('the channel carries another token');
  const missing = held.events.filter((event) => found.events !== null && !found.events.includes(event));
  if (missing.length > 0) return lost(`the channel does not notify of ${missing.join(', ')}`);
  if (isEarlier(found.endsMs, held.endsMs)) return { kind: 'shortened', details: `the channel ends at ${utc(found.endsMs)}, and was granted until ${utc(held.endsMs)}` };
  return null;
}

const utc = (ms: number): string => new Date(ms).toISOString();

/** From one reading of the CRM's list to the next. */
const LIST_EVERY_MS = 3_600_000;
/** How long after it was enabled a channel is certainly listed. */
const LISTED_AFTER_MS = 60_000;

/** What the reading back of a channel depends on. */
export type ListHistory = {
  readonly enabledMs: number;
  /** How many lists in a row it was wrong in: a CRM that does not keep what it grants is asked more and more seldom. */
  readonly wrongInRow: number;
};

/** From when on a list is sure to show a channel that was enabled then. */
export const listedFromMs = ({ enabledMs, wrongInRow }: ListHistory): number => enabledMs + Math.min(LISTED_AFTER_MS * 2 ** wrongInRow, LIST_EVERY_MS);

/** Whether the CRM's list is to be read now: no list has shown the channel since it was enabled, or for an hour. */
export function isListDue(history: ListHistory, listedMs: number | null, nowMs: number): boolean {
  const fromMs = listedFromMs(history);
  return nowMs >= fromMs && (listedMs === null || listedMs < fromMs || nowMs >= listedMs + LIST_EVERY_MS);
}

/** What one catch-up says about a channel; times are epoch milliseconds. */
export type JudgedReading = {
  readonly wantedMs: number;
  /** The window: from here to the start. */
  readonly fromMs: number;
  readonly startedMs: number;
  /** Rows of the window; of these, those the register did not hold; of these, changes without a notification in time. */
  readonly rows: number;
  readonly seen: number;
  readonly unhinted: number;
};

/**
 * What catch-ups say about a channel. `silent`: they keep finding changes without a notification. `healthy`: they find
 * notified ones, or for a while nothing that speaks against it. `unknown`: too little was read since it was enabled.
 */
export type DeliveryHealth = { readonly state: 'silent' | 'healthy' | 'unknown'; readonly hinted: number; readonly unhinted: number };

/** How far back a channel is judged by catch-ups. */
export const JUDGED_OVER_MS = 3_600_000;
const QUIET_MS = 1_200_000;
const MIN_UNHINTED = 5;

/**
 * Judges a channel by the latest catch-ups. Windows overlap, and a second pass goes far back, so of each window's rows only
 * the share counts that falls between this reading and the one before; what the reading itself was the first to find is no sign of a
 * notification. One reading alone does not make a channel silent: it may be a mass edit, of which the CRM need not notify.
 * @param readings oldest first; the first one only shows when the second's share begins.
 * @param pauseMs a longer time without a reading is an outage of our own, and no fault of the channel's.
 */
export function deliveryHealthOf(readings: readonly JudgedReading[], { enabledMs, nowMs, pauseMs }: { readonly enabledMs: number; readonly nowMs: number; readonly pauseMs: number }): DeliveryHealth {
  const sinceMs = Math.max(enabledMs, nowMs - JUDGED_OVER_MS);
  const judged = readings.flatMap((reading, at) => {
    const stepMs = reading.startedMs - (readings[at - 1]?.startedMs ?? Number.NEGATIVE_INFINITY);
    return reading.wantedMs < sinceMs || stepMs > pauseMs ? [] : [{ ...reading, hinted: reading.rows * Math.min(1, stepMs / (reading.startedMs - reading.fromMs)) - reading.seen }];
  });
  const unhinted = judged.reduce((sum, one) => sum + one.unhinted, 0);
  const hinted = Math.max(0, Math.round(judged.reduce((sum, one) => sum + one.hinted, 0)));
  const found = judged.filter((one) => one.unhinted > 0);
  const isQuiet = judged.length > 0 && nowMs - sinceMs >= QUIET_MS && found.every(({ wantedMs }) => wantedMs < nowMs - QUIET_MS);
  if (isQuiet || hinted > unhinted) return { state: 'healthy', hinted, unhinted };
  return { state: unhinted >= MIN_UNHINTED && found.length > 1 && unhinted > hinted ? 'silent' : 'unknown', hinted, unhinted };
}
