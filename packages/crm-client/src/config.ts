import { parseEnv } from '@lockstep/telemetry';
import { z } from 'zod';

import { type DataCentre, dataCentreOf, dataCentres } from './data-centres.ts';
import { DOWNLOADS_PER_MINUTE } from './download-pace.ts';
import { type ApiVersion, apiVersions } from './versions.ts';

const inFlight = z.coerce.number().int().min(1).max(25).default(5);
const schema = z.object({
  CRM_DATA_CENTRE: z.enum(Object.keys(dataCentres) as [DataCentre, ...DataCentre[]]).default('us').describe('where the organisation lives'),
  CRM_API_URL: z.url().optional().describe('base of the API, instead of the data centre\'s; for the simulator and sandboxes'),
  CRM_ACCOUNTS_URL: z.url().optional().describe('base of the accounts server, instead of the data centre\'s'),
  CRM_API_VERSION: z.enum(apiVersions).default('v8').describe('version of the API'),
  CRM_CLIENT_ID: z.string().min(1).describe('id of the self client in the API console'),
  CRM_CLIENT_SECRET: z.string().min(1).describe('its secret'),
  CRM_REFRESH_TOKEN: z.string().min(1).describe('its refresh token, with the scopes the README lists'),
  // Half of the ten of the smallest paid edition: ingress and scheduler share them.
  CRM_MAX_IN_FLIGHT: inFlight.describe('calls of this process at a time'),
  CRM_MAX_QUERIES_IN_FLIGHT: inFlight.describe('COQL queries of this process at a time'),
  CRM_DOWNLOADS_PER_MINUTE: z.coerce.number().int().min(0).max(10).default(DOWNLOADS_PER_MINUTE).describe('bulk results that are downloaded in a minute; 0 lifts the limit'),
  CRM_CREDITS_PER_DAY: z.coerce.number().int().min(1).optional().describe('API credits that the organisation has in 24 hours; without it there is no budget'),
  CRM_CREDITS_RESERVE: z.coerce.number().min(0).max(0.95).default(0.25).describe('share of the credits that is left to others'),
});

/** How to reach the CRM, as whom, and how much of it may be used. URLs have no slash at their end. */
export type CrmConfig = {
  readonly dataCentre: DataCentre;
  readonly apiUrl: string;
  readonly accountsUrl: string;
  readonly version: ApiVersion;
  readonly clientId: string;
  readonly clientSecret: string;
  readonly refreshToken: string;
  readonly maxInFlight: number;
  readonly maxQueriesInFlight: number;
  /** 0: no limit. */
  readonly downloadsPerMinute: number;
  /** Null: not known, so there is no budget. */
  readonly creditsPerDay: number | null;
  readonly creditsReserve: number;
};

/** @throws {ConfigError} naming each variable that is missing or wrong. */
export function loadCrmConfig(env: NodeJS.ProcessEnv): CrmConfig {
  const values = parseEnv(schema, env);
  const centre = dataCentres[values.CRM_DATA_CENTRE];
  const apiUrl = withoutSlash(values.CRM_API_URL ?? centre.api);
  const served = dataCentreOf(apiUrl);
  if (served !== undefined && served !== values.CRM_DATA_CENTRE) throw new Error(`The configuration contradicts itself: CRM_API_URL is in the data centre ${served}, CRM_DATA_CENTRE says ${values.CRM_DATA_CENTRE}`);
  return {
    dataCentre: values.CRM_DATA_CENTRE,
    apiUrl,
    accountsUrl: withoutSlash(values.CRM_ACCOUNTS_URL ?? centre.accounts),
    version: values.CRM_API_VERSION,
    clientId: values.CRM_CLIENT_ID,
    clientSecret: values.CRM_CLIENT_SECRET,
    refreshToken: values.CRM_REFRESH_TOKEN,
    maxInFlight: values.CRM_MAX_IN_FLIGHT,
    maxQueriesInFlight: values.CRM_MAX_QUERIES_IN_FLIGHT,
    downloadsPerMinute: values.CRM_DOWNLOADS_PER_MINUTE,
    creditsPerDay: values.CRM_CREDITS_PER_DAY ?? null,
    creditsReserve: values.CRM_CREDITS_RESERVE,
  };
}

const withoutSlash = (url: string): string => url.replace(/\/+$/, '');
