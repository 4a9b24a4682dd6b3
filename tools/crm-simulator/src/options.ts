import { type Clock, realClock } from './clock.ts';
import type { CsvForm } from './render/csv.ts';

/** Rates of the made-up traffic, a second each, spread over the modules. */
export type TrafficOptions = {
  readonly editsPerSecond: number;
  readonly createsPerSecond: number;
  readonly deletesPerSecond: number;
  /** API names; those of all modules by default. */
  readonly modules: readonly string[];
  readonly seed: number;
};

/** How the simulated CRM is set up. */
export type SimulatorOptions = {
  /** 0 takes a free port. */
  readonly port: number;
  readonly host: string;
  /** Decides every seeded record, and every random choice. */
  readonly seed: number;
  /** Seeded records of each module, by API name. */
  readonly records: Readonly<Record<string, number>>;
  /** Rows of one bulk read page. The CRM's is 200,000. */
  readonly pageSize: number;
  readonly clock: Clock;
  /** Zone of the calling user, e.g. `+05:30`. */
  readonly utcOffset: string;
  readonly csvIdHeader: CsvForm['idHeader'];
  readonly csvMultiSelectSeparator: CsvForm['multiSelectSeparator'];
  readonly csvBom: boolean;
  readonly csvCrlf: boolean;
  /** Characters that lists, queries and the reading of one record show of a rich text; 0 shows all of it. */
  readonly richTextCut: number;
  /** The same of the call that is there to show it in full; 0 by default. */
  readonly fullTextCut: number;
  /** Ends of paths that the token's scopes do not cover, e.g. `/settings/fields`. */
  readonly uncovered: readonly string[];
  /** Folder of the result files; a new temporary one by default, which `close()` removes. */
  readonly spoolDir: string | null;
  /** From the creation of a bulk job to its completion, the writing of the file not counted; milliseconds. */
  readonly jobDelayMs: number;
  /** Each notification waits for a random time between these two, milliseconds. */
  readonly callbackDelayMs: readonly [number, number];
  /** Notifications under way at a time. */
  readonly callbackConcurrency: number;
  readonly callbackTimeoutMs: number;
  /** 0 lifts the limit. */
  readonly downloadsPerMinute: number;
  /** Access tokens one refresh token gives in ten minutes; 0 lifts the limit. */
  readonly tokensPerTenMinutes: number;
  /** Calls under way at a time, above which 429 is answered; 0 lifts the limit. */
  readonly callsInFlight: number;
  /** COQL queries under way at a time (the CRM's sub-concurrency); 0 lifts the limit. */
  readonly queriesInFlight: number;
  /** API credits of 24 hours. */
  readonly credits: number;
  readonly clientId: string;
  readonly clientSecret: string;
  readonly refreshToken: string;
  readonly traffic: Partial<TrafficOptions> | null;
};

/** What holds where the caller says nothing. */
export const defaultOptions = (): SimulatorOptions => ({
  port: 0,
  host: '127.0.0.1',
  seed: 1,
  records: { Leads: 1000, Deals: 200, Products: 200 },
  pageSize: 200_000,
  clock: realClock(),
  utcOffset: '+05:30',
  csvIdHeader: 'Id',
  csvMultiSelectSeparator: ';',
  csvBom: false,
  csvCrlf: false,
  richTextCut: 500,
  fullTextCut: 0,
  uncovered: [],
  spoolDir: null,
  jobDelayMs: 300,
  callbackDelayMs: [5, 40],
  callbackConcurrency: 64,
  callbackTimeoutMs: 5000,
  downloadsPerMinute: 10,
  tokensPerTenMinutes: 10,
  // What an Enterprise organisation has, as with the credits.
  callsInFlight: 20,
  queriesInFlight: 10,
  credits: 5_000_000,
  clientId: 'simulator',
  clientSecret: 'simulator',
  refreshToken: 'simulator',
  traffic: null,
});
