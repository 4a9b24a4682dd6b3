export { advanced, WATERMARK_MARGIN_MS, wholeSecond } from './watermark.ts';
export type { Reading } from './watermark.ts';
export { defaultCatchUpRules, dueCatchUp } from './catch-up-plan.ts';
export type { CatchUpHistory, CatchUpPlan, CatchUpRules } from './catch-up-plan.ts';
export { channelFault, HEARD_OVER_MS, hearingOf, isEarlier, isListDue, listedFromMs } from './channel-health.ts';
export type { ChannelFault, HeardReading, Hearing, HeldChannel, ListedChannel, ListHistory } from './channel-health.ts';
export { isLate, lateAfterMs } from './late.ts';
export { isUnhinted, statementOf } from './statement.ts';
export type { Known } from './statement.ts';
