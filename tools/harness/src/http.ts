import { request } from 'undici';

/** A JSON answer of one of our own servers. @throws {Error} for any status but 2xx. */
export async function fetchJson<T>(url: string, options: { method?: 'GET' | 'POST' | 'DELETE' | 'PUT'; body?: unknown } = {}): Promise<T> {
  const { statusCode, body } = await request(url, {
    method: options.method ?? 'GET',
    ...(options.body === undefined ? {} : { body: JSON.stringify(options.body), headers: { 'content-type': 'application/json' } }),
    headersTimeout: 30_000,
    bodyTimeout: 30_000,
  });
  const text = await body.text();
  if (statusCode >= 300) throw new Error(`${url} answered ${statusCode}: ${text.slice(0, 300)}`);
  return (text === '' ? null : JSON.parse(text)) as T;
}

/** The sum of a metric's samples in Prometheus' text form, over all labels that match. */
export async function metricSum(metricsUrl: string, name: string, labels = ''): Promise<number> {
  const { body } = await request(metricsUrl, { headersTimeout: 5_000, bodyTimeout: 5_000 });
  const lines = (await body.text()).split('\n').filter((line) => line.startsWith(`${name}{`) || line.startsWith(`${name} `));
  return lines.filter((line) => line.includes(labels)).reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(' ') + 1)), 0);
}
