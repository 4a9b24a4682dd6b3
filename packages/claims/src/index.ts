export { decodeClaims, encodeClaims } from './claims-message.ts';
export { ensureClaimsTopic } from './claims-topic.ts';
export { loggedWatermarks, publishClaims } from './logged-watermarks.ts';
export type { ClaimLogDeps } from './logged-watermarks.ts';
export { readClaims } from './read-claims.ts';
export type { LoggedClaims, ReadClaimsDeps } from './read-claims.ts';
export { restoreClaims } from './restore-claims.ts';
export type { Restored, RestoreClaimsDeps } from './restore-claims.ts';
