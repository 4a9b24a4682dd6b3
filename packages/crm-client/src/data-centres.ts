/** Where an organisation lives. A token of one data centre is worth nothing in another. */
export const dataCentres = {
  us: { accounts: 'https://accounts.zoho.com', api: 'https://www.zohoapis.com' },
  eu: { accounts: 'https://accounts.zoho.eu', api: 'https://www.zohoapis.eu' },
  in: { accounts: 'https://accounts.zoho.in', api: 'https://www.zohoapis.in' },
  au: { accounts: 'https://accounts.zoho.com.au', api: 'https://www.zohoapis.com.au' },
  jp: { accounts: 'https://accounts.zoho.jp', api: 'https://www.zohoapis.jp' },
  cn: { accounts: 'https://accounts.zoho.com.cn', api: 'https://www.zohoapis.com.cn' },
  ca: { accounts: 'https://accounts.zohocloud.ca', api: 'https://www.zohoapis.ca' },
  sa: { accounts: 'https://accounts.zoho.sa', api: 'https://www.zohoapis.sa' },
  uk: { accounts: 'https://accounts.zoho.uk', api: 'https://www.zohoapis.uk' },
} as const;

export type DataCentre = keyof typeof dataCentres;

/** The data centre that serves this API, its sandboxes and its developer edition; undefined where none does. */
export function dataCentreOf(apiUrl: string): DataCentre | undefined {
  const origin = originOf(apiUrl);
  const centres = Object.entries(dataCentres) as [DataCentre, { readonly api: string }][];
  return centres.find(([, { api }]) => ['www', 'sandbox', 'developer'].some((host) => origin === api.replace('www', host)))?.[0];
}

/** Scheme, host and port; `''` for what is no URL. */
export const originOf = (url: string): string => (URL.canParse(url) ? new URL(url).origin : '');
