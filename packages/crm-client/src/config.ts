import { parseEnv } from '@lockstep/telemetry';
import { z } from 'zod';

import { type DataCentre, dataCentres } from './data-centres.ts';
import { type ApiVersion, apiVersions } from './versions.ts';

const schema = z.object({
  CRM_DATA_CENTRE: z.enum(Object.keys(dataCentres) as [DataCentre, ...DataCentre[]]).default('us').describe('where the organisation lives'),
  CRM_API_URL: z.url().optional().describe('base of the API, instead of the data centre\'s; for the simulator and sandboxes'),
  CRM_ACCOUNTS_URL: z.url().optional().describe('base of the accounts server, instead of the data centre\'s'),
  CRM_API_VERSION: z.enum(apiVersions).default('v8').describe('version of the API'),
  CRM_CLIENT_ID: z.string().min(1).describe('id of the self client in the API console'),
  CRM_CLIENT_SECRET: z.string().min(1).describe('its secret'),
  CRM_REFRESH_TOKEN: z.string().min(1).describe('its refresh token, with the scopes the README lists'),
});

/** How to reach the CRM, and as whom. URLs have no slash at their end. */
export type CrmConfig = {
  readonly apiUrl: string;
  readonly accountsUrl: string;
  readonly version: ApiVersion;
  readonly clientId: string;
  readonly clientSecret: string;
  readonly refreshToken: string;
};

/** @throws {Error} naming each variable that is missing or wrong. */
export function loadCrmConfig(env: NodeJS.ProcessEnv): CrmConfig {
  const values = parseEnv(schema, env);
  const centre = dataCentres[values.CRM_DATA_CENTRE];
  return {
    apiUrl: withoutSlash(values.CRM_API_URL ?? centre.api),
    accountsUrl: withoutSlash(values.CRM_ACCOUNTS_URL ?? centre.accounts),
    version: values.CRM_API_VERSION,
    clientId: values.CRM_CLIENT_ID,
    clientSecret: values.CRM_CLIENT_SECRET,
    refreshToken: values.CRM_REFRESH_TOKEN,
  };
}

const withoutSlash = (url: string): string => url.replace(/\/+$/, '');
