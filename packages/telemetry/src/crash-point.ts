/**
 * Places where a crash leaves a step done and not yet noted. A test arms one by `LOCKSTEP_CRASH_AT`, e.g. `page-published`, or
 * `look-published:3` for its third passing; the process then ends there as kill -9 ends it.
 *
 * - `hint-stored`: Kafka has a notification's hints, the CRM has no answer.
 * - `look-published`: Kafka has what a look saw, its hints are not committed.
 * - `page-published`: Kafka has every row of a bulk page, the job table does not say so.
 * - `window-published`: Kafka has what a catch-up read, the catch-up is not noted as read.
 * - `catch-up-read`: a catch-up is noted as read, the watermark is not moved.
 * - `watermark-noted`: the watermark is moved, its catch-up is not closed.
 * - `job-created`: the CRM has a bulk job, the job table does not know it.
 * - `looks-hinted`: Kafka has the hints of wanted looks, which are still wanted.
 * - `batch-committed`: Postgres has a batch, the consumer group has not committed it.
 * - `effect-applied`: a consumer's effect is made in its transaction, which is not committed.
 * - `batch-consumed`: a consumer's transaction is committed, the process does not know.
 * - `delivery-sent`: the receiver has a delivery, the outbox does not say so.
 * - `lines-appended`: the file has lines, the outbox does not say so.
 * - `log-folded`: a partition of the log is folded for a verification or a rebuild, nothing is made of it.
 * - `partition-sent`: a rebuild has loaded a partition into a lost database, and not committed it.
 * - `partition-loaded`: that is committed; what of it is left to the projector is not.
 * - `differences-found`: a rebuild knows what differs, nothing is written.
 * - `differences-written`: those of a partition are written, and not committed.
 */
export const crashPoints = ['hint-stored', 'look-published', 'page-published', 'window-published', 'catch-up-read', 'watermark-noted', 'job-created', 'looks-hinted', 'batch-committed', 'effect-applied', 'batch-consumed', 'delivery-sent', 'lines-appended', 'log-folded', 'partition-sent', 'partition-loaded', 'differences-found', 'differences-written'] as const;
export type CrashPoint = (typeof crashPoints)[number];

let armed = armedBy(process.env['LOCKSTEP_CRASH_AT']);

/** Ends the process if this place is the armed one; else does nothing, and costs nothing. */
export function crashPoint(name: CrashPoint): void {
  if (armed === null || armed.name !== name) return;
  armed = { ...armed, passings: armed.passings - 1 };
  if (armed.passings === 0) process.kill(process.pid, 'SIGKILL');
}

function armedBy(text: string | undefined): { readonly name: CrashPoint; readonly passings: number } | null {
  if (text === undefined || text === '') return null;
  const [given = '', passings = '1'] = text.split(':');
  const name = crashPoints.find((one) => one === given);
  if (name === undefined || !/^[1-9]\d*$/.test(passings)) throw new Error(`LOCKSTEP_CRASH_AT: "${text}" is none of ${crashPoints.join(', ')}, with ":<number>" after it or not`);
  return { name, passings: Number(passings) };
}
