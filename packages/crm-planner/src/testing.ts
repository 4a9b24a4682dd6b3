import type { CrmClient } from '@lockstep/crm-client';
import type { Time } from '@lockstep/telemetry';

/** The CRM's time, on which all sources agree: the test's. */
export const crmAt = (now: () => Date): Pick<CrmClient, 'time'> => ({ time: () => ({ earliestMs: now().getTime(), latestMs: now().getTime(), stampedUpToMs: now().getTime(), isFirm: true }) });

/** A monotonic clock that goes with the test's. */
export const elapsedWith = (now: () => Date): Pick<Time, 'elapsed'> => ({ elapsed: () => now().getTime() });
