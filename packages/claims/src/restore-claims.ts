import type { Admin } from '@lockstep/kafka';
import { type ModuleDefinition, topicOf } from '@lockstep/modules';
import { type Database, isReadingKnown, noteLostClaims, type StandingClaim } from '@lockstep/postgres';

import { type LoggedClaims, readClaims, type ReadClaimsDeps } from './read-claims.ts';
import { recallLetters } from './recall-letters.ts';

export type RestoreClaimsDeps = ReadClaimsDeps & { readonly db: Pick<Database, 'pool'>; readonly admin: Pick<Admin, 'partitionsOf' | 'topicId' | 'topicOffsets'> };

/**
 * What came of it.
 * - `known`: the database says itself how far the module was read.
 * - `none`: the log has no claim that the whole module was read.
 * - `restored`: catch-ups go on from the claim, which counts once the projector has come to its offsets.
 * - `incomplete`: the module's topic lacks what was claimed, so the claim is void; `problem` says what.
 * - `unreadable`: a newer build has written the last claims of the module, and may have withdrawn the ones before; `problem` says so.
 */
export type Restored = { readonly status: 'known' | 'none' } | { readonly status: 'restored'; readonly upTo: Date } | { readonly status: 'incomplete' | 'unreadable'; readonly problem: string };

/**
 * Brings back what was claimed of a module, from the log into a database that knows nothing of it, and the dead letters that the claim passed over.
 * @param topic the module's own by default.
 * @throws {KafkaError} when the log cannot be read.
 */
export async function restoreClaims(deps: RestoreClaimsDeps, module: ModuleDefinition, topic = topicOf(module)): Promise<Restored> {
  const { db } = deps;
  if (await isReadingKnown(db, module.apiName)) return { status: 'known' };
  const claims = (await readClaims(deps, [module.apiName])).get(module.apiName);
  if (claims === undefined) return { status: 'none' };
  if (claims.unread !== null) return { status: 'unreadable', problem: `the last claims of ${module.apiName} in the log are of version ${claims.unread}, which this build does not read: the ones before may have been withdrawn` };
  if (claims.everything === null) return { status: 'none' };
  const problem = await problemOf(deps, topic, claims);
  if (problem !== null) return { status: 'incomplete', problem };
  const { everything } = claims;
  const changes = isTimely(claims.changes, claims) ? claims.changes : null;
  // Before the claim counts: what could not be read is no part of it.
  await recallLetters(deps, module.apiName, everything.at);
  const isNoted = isTimely(everything, claims) && (await noteLostClaims(db, module.apiName, { changes, everything }));
  if (!isNoted) return { status: (await isReadingKnown(db, module.apiName)) ? 'known' : 'none' };
  return { status: 'restored', upTo: (changes ?? everything).at };
}

/** A claim is older than the moment at which it was noted: what lies after that was claimed by a clock that was wrong. */
const isTimely = (claim: StandingClaim | null, { appendedMs }: LoggedClaims): boolean => claim !== null && claim.at.getTime() <= appendedMs;

/** What of the claimed messages the topic does not hold. */
async function problemOf({ admin }: RestoreClaimsDeps, topic: string, { changes, everything }: LoggedClaims): Promise<string | null> {
  const topicId = await admin.topicId(topic);
  const offsets = await admin.topicOffsets(topic);
  const cut = offsets.find(({ low }) => low > 0);
  if (cut !== undefined) return `${topic}/${cut.partition} begins at offset ${cut.low}: its history is not whole`;
  for (const claim of [everything, changes]) {
    if (claim === null) continue;
    if (claim.topicId !== topicId) return `${topic} was created again: it has the id ${topicId}, and ${claim.topicId} was read up to ${claim.at.toISOString()}`;
    const lost = claim.endOffsets.findIndex((end, partition) => end > (offsets.find((one) => one.partition === partition)?.high ?? 0));
    if (lost !== -1) return `${topic}/${lost} ends before offset ${claim.endOffsets[lost]}, up to which the CRM was read: its end is lost`;
  }
  return null;
}
