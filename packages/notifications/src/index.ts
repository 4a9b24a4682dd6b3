export { channelIdOf, channelToken, isChannelToken, isPathSecret, notifyPath, pathSecret } from './authenticity.ts';
export { decodeHint, encodeHint, hintsOf, isOwnHint, ownHint } from './hint.ts';
export type { Hint, HintOperation } from './hint.ts';
export { NotificationError } from './errors.ts';
export { parseNotification } from './notification.ts';
export type { Notification } from './notification.ts';
