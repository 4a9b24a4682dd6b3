import { appNames, compareAll, type Comparison, fetchJson, LatencyProbe, type Latencies, type Lockstep, metricSum, type Snapshot, type StatusView, waitUntilLoaded, waitUntilQuiet } from '@lockstep/harness';

/** What the demo is to do. */
export type DemoOptions = {
  readonly editsPerSecond: number;
  readonly createsPerSecond: number;
  readonly deletesPerSecond: number;
  /** How long the traffic goes on after the first load at least. */
  readonly liveSeconds: number;
  /** What stood in the database before the apps were started. */
  readonly before: Snapshot;
  readonly onStatus: (status: StatusView) => void;
};

/** What came of it. */
export type DemoResult = Comparison & {
  readonly syncSeconds: number;
  readonly rowsPerSecond: number;
  readonly edits: number;
  readonly creates: number;
  readonly deletes: number;
  readonly outdatedCsvRowsRefused: number;
  readonly notificationToRow: Latencies;
  readonly parked: number;
  /** More than are believed without a person's word: their rows are among the mismatches. */
  readonly heldDeletions: number;
  /** By app, megabytes. */
  readonly peakRssMb: Readonly<Record<string, number>>;
};

type TrafficStatus = { readonly totals: { readonly edits: number; readonly creates: number; readonly deletes: number } };

/**
 * The first load while edits, creations and deletions go on; then the traffic stops, and once nothing is on its way every
 * column of every row is compared with the CRM's truth.
 */
export async function runDemo(lockstep: Lockstep, options: DemoOptions, startedMs: number): Promise<DemoResult> {
  const { simulator, databaseUrl } = lockstep;
  if (simulator === undefined) throw new Error('the demo needs the simulator');
  const probe = await LatencyProbe.start({ simulatorUrl: simulator.url, databaseUrl });
  const loaded = await waitUntilLoaded(lockstep, { timeoutMs: 900_000, onStatus: options.onStatus });
  await everythingApplied(lockstep, loaded);
  const syncSeconds = (performance.now() - startedMs) / 1000;
  await new Promise((resolve) => {
    setTimeout(resolve, options.liveSeconds * 1000);
  });
  const { totals } = await fetchJson<TrafficStatus>(`${simulator.url}/__simulator/traffic`, { method: 'DELETE' });
  const quiet = await waitUntilQuiet(lockstep, { timeoutMs: 300_000 });
  const notificationToRow = await probe.stop();
  const comparison = await compareAll(lockstep, undefined, { before: options.before });
  const published = loaded.modules.reduce((sum, { run }) => sum + (run?.rows ?? 0), 0);
  return {
    ...comparison,
    syncSeconds: round(syncSeconds),
    rowsPerSecond: Math.round(published / syncSeconds),
    ...totals,
    outdatedCsvRowsRefused: await metricSum(`${lockstep.urls.projector}/metrics`, 'lockstep_projector_outdated_bulk_rows_total'),
    notificationToRow,
    parked: quiet.modules.reduce((sum, { parked }) => sum + parked, 0),
    heldDeletions: quiet.modules.reduce((sum, { heldDeletions }) => sum + (heldDeletions?.deletions ?? 0), 0),
    peakRssMb: Object.fromEntries(appNames.map((name) => [name, lockstep.apps[name]?.peakRssMb() ?? 0])),
  };
}

/** The bulk rows are in the table once as much is applied as was in the log when the last page was published. */
async function everythingApplied(lockstep: Lockstep, loaded: StatusView): Promise<void> {
  const behind = loaded.modules.reduce((sum, module) => sum + module.behind, 0);
  const applied = (): Promise<number> => metricSum(`${lockstep.urls.projector}/metrics`, 'lockstep_projector_observations_total');
  const target = (await applied()) + behind;
  while ((await applied()) < target) {
    await new Promise((resolve) => {
      setTimeout(resolve, 50);
    });
  }
}

const round = (seconds: number): number => Math.round(seconds * 10) / 10;
