/*
 * What of a dead letter counts, in SQL. One of no module, such as a notification that is none, may have been about any module: it counts for each
 * until a catch-up of that module has begun after it.
 */

/** Whether every change (`changes`) or the whole module (`everything`) was read later than the dead letter `d`. */
export const claimedAfterLetter = (kind: 'changes' | 'everything', module: string): string => `exists (select from lockstep.watermark w where w.module = ${module} and w.kind = '${kind}' and w.at > d.at)`;

/** Whether the dead letter `d` counts for a module. */
export const isOpenLetterSql = (module: string): string => `d.resolved_at is null and (d.module = ${module} or d.module is null and not ${claimedAfterLetter('changes', module)})`;
