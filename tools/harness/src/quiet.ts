import { fetchJson } from './http.ts';
import type { Lockstep } from './lockstep.ts';
import { waitUntil } from './wait-until.ts';

/** The part of the scheduler's status that shows whether anything is still on its way. */
export type StatusView = {
  readonly hintsWaiting: number | null;
  readonly modules: readonly {
    readonly module: string;
    readonly state: string;
    readonly behind: number;
    readonly parked: number;
    readonly problem: string | null;
    readonly heldDeletions: { readonly deletions: number } | null;
    readonly run: { readonly kind: string; readonly state: string; readonly startedAt: string; readonly rows: number; readonly expectedRows: number | null; readonly rowsPerSecond: number; readonly etaSeconds: number | null; readonly pages: number; readonly pagesPublished: number } | null;
  }[];
};

/** What the scheduler says. */
export const statusOf = ({ urls }: Pick<Lockstep, 'urls'>): Promise<StatusView> => fetchJson<StatusView>(`${urls.scheduler}/status`);

/** Deletions that are held stay so until a person says go. */
const isLoaded = (state: string): boolean => state === 'in step' || state === 'projecting' || state === 'incomplete' || state === 'deletions held';

/** Waits until every module's first load is in its table. @throws {HarnessError} `TIMED_OUT` */
export const waitUntilLoaded = (lockstep: Pick<Lockstep, 'urls'>, { timeoutMs = 120_000, onStatus = () => undefined }: { timeoutMs?: number; onStatus?: (status: StatusView) => void } = {}): Promise<StatusView> =>
  waitUntil(
    'the first load of every module',
    async () => {
      const status = await statusOf(lockstep);
      onStatus(status);
      return status.modules.every(({ state }) => isLoaded(state)) ? status : null;
    },
    { timeoutMs, everyMs: 200 },
  );

/**
 * Waits until nothing is on its way any more: every notification has left the simulator, every hint is answered, and every
 * message of the log is applied. Call it once the traffic has stopped.
 * @throws {HarnessError} `TIMED_OUT`
 */
export async function waitUntilQuiet(lockstep: Pick<Lockstep, 'urls' | 'simulator'>, { timeoutMs = 120_000 }: { timeoutMs?: number } = {}): Promise<StatusView> {
  return await waitUntil(
    'quiet',
    async () => {
      const outstanding = lockstep.simulator === undefined ? 0 : (await fetchJson<{ notifications: { outstanding: number } }>(`${lockstep.simulator.url}/__simulator/counters`)).notifications.outstanding;
      if (outstanding > 0) return null;
      const status = await statusOf(lockstep);
      const isQuiet = status.hintsWaiting === 0 && status.modules.every(({ state, behind }) => isLoaded(state) && behind === 0);
      return isQuiet ? status : null;
    },
    { timeoutMs, everyMs: 200 },
  );
}
