import type { DueAlert } from '@lockstep/postgres';

/** An alert as people read it. */
export type AlertMessage = { readonly subject: string; readonly text: string };

const utc = (time: Date): string => `${time.toISOString().slice(0, 19).replace('T', ' ')} UTC`;

/** What is said of an incident. @param runbookUrl has a section for each kind. */
export function alertMessage({ incident: { module, kind, openedAt, closedAt, details }, event }: Pick<DueAlert, 'incident' | 'event'>, runbookUrl: string): AlertMessage {
  const what = `${kind}${module === '' ? '' : ` of ${module}`}`;
  const subject = `Lockstep: ${what} ${event === 'opened' ? 'since' : 'is over since'} ${utc(event === 'opened' ? openedAt : (closedAt ?? openedAt))}`;
  const text = event === 'opened' ? `${details}\nWhat to do: ${runbookUrl}#${kind}` : `It began at ${utc(openedAt)}. Last known: ${details}`;
  return { subject, text };
}
