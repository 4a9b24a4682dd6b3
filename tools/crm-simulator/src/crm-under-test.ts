import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { inflateRawSync } from 'node:zlib';

import type { SimulatorOptions } from './options.ts';
import { type Simulator, startSimulator } from './simulator.ts';

// Replies are looked into freely by the tests: what they hold is what is tested.
// oxlint-disable-next-line typescript/no-explicit-any
export type Json = Record<string, any>;
export type Reply = { readonly status: number; readonly headers: Headers; readonly body: Json; readonly bytes: Buffer };

/** A simulator as a client sees it: over HTTP, with a token. */
export type CrmUnderTest = {
  readonly crm: Simulator;
  /** A GET with the token, which is renewed when it has ended; `path` from the root. */
  readonly get: (path: string, headers?: Readonly<Record<string, string>>) => Promise<Reply>;
  readonly send: (method: string, path: string, body?: unknown, headers?: Readonly<Record<string, string>>) => Promise<Reply>;
  /** Asks for an access token; what is given goes in place of the right credentials. */
  readonly token: (given?: Readonly<Record<string, string>>) => Promise<Reply>;
  readonly close: () => Promise<void>;
};

/** Starts a small CRM without limits and delays; `options` say what is to differ. */
export async function startCrm(options: Partial<SimulatorOptions> = {}): Promise<CrmUnderTest> {
  const crm = await startSimulator({ records: { Leads: 10 }, jobDelayMs: 0, callbackDelayMs: [0, 0], tokensPerTenMinutes: 0, downloadsPerMinute: 0, ...options });
  const token: CrmUnderTest['token'] = (given = {}) => call(`${crm.url}/oauth/v2/token?${new URLSearchParams({ ...credentials, ...given }).toString()}`, { method: 'POST' });
  let authorization = '';
  const send: CrmUnderTest['send'] = async (method, path, body, headers = {}) => {
    const attempt = () => call(crm.url + path, { method, headers: { authorization, ...headers }, ...(body === undefined ? {} : { body: JSON.stringify(body) }) });
    const reply = await attempt();
    if (reply.status !== 401 || 'authorization' in headers) return reply;
    authorization = `Zoho-oauthtoken ${(await token()).body['access_token']}`;
    return attempt();
  };
  return { crm, token, send, get: (path, headers) => send('GET', path, undefined, headers), close: () => crm.close() };
}

const credentials = { grant_type: 'refresh_token', client_id: 'simulator', client_secret: 'simulator', refresh_token: 'simulator' };

async function call(url: string, init: RequestInit): Promise<Reply> {
  const reply = await fetch(url, init);
  const bytes = Buffer.from(await reply.arrayBuffer());
  const isJson = reply.headers.get('content-type')?.startsWith('application/json') === true && bytes.length > 0;
  return { status: reply.status, headers: reply.headers, body: isJson ? (JSON.parse(bytes.toString()) as Json) : {}, bytes };
}

/** A server that takes what the CRM sends of its own accord. */
export async function startReceiver(): Promise<{ url: string; received: Json[]; close(): Promise<void> }> {
  const received: Json[] = [];
  const server = createServer((request: IncomingMessage, reply) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      received.push(JSON.parse(Buffer.concat(chunks).toString()) as Json);
      reply.end();
    });
  });
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve);
  });
  const close = () =>
    new Promise<void>((resolve) => {
      server.close(() => resolve());
      server.closeAllConnections();
    });
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, received, close };
}

/** Creates a bulk read job and asks until it has ended. @returns its last status. */
export async function bulkJob({ get, send }: CrmUnderTest, query: unknown, version = 'v8', more: Json = {}): Promise<Json> {
  const created = await send('POST', `/crm/bulk/${version}/read`, { query, file_type: 'csv', ...more });
  if (created.status !== 201) throw new Error(`not created: ${JSON.stringify(created.body)}`);
  for (;;) {
    const [job] = (await get(`/crm/bulk/${version}/read/${created.body['data'][0].details.id}`)).body['data'];
    if (job.state === 'COMPLETED' || job.state === 'FAILURE') return job as Json;
  }
}

/** The name and the text of the one file of a ZIP, by its central directory. */
export function unzipped(zip: Buffer): { name: string; text: string } {
  const end = zip.lastIndexOf(Buffer.from('PK\u0005\u0006', 'latin1'));
  const central = zip.readUInt32LE(end + 16);
  const local = zip.readUInt32LE(central + 42);
  const name = zip.subarray(central + 46, central + 46 + zip.readUInt16LE(central + 28)).toString();
  const start = local + 30 + zip.readUInt16LE(local + 26) + zip.readUInt16LE(local + 28);
  return { name, text: inflateRawSync(zip.subarray(start, start + zip.readUInt32LE(central + 20))).toString() };
}

const cell = /(?:"(?<quoted>(?:[^"]|"")*)"|(?<plain>[^",\r\n]*))(?<end>,|\r?\n)/gy;

/** Reads a CSV strictly: quotes only around a whole cell, doubled inside. @throws {Error} at the first thing that is not so. */
export function parsedCsv(text: string): string[][] {
  const rows: string[][] = [];
  let row: string[] = [];
  let at = 0;
  for (const match of text.matchAll(cell)) {
    at = match.index + match[0].length;
    row.push(match.groups?.['quoted']?.replaceAll('""', '"') ?? match.groups?.['plain'] ?? '');
    if (match.groups?.['end'] === ',') continue;
    rows.push(row);
    row = [];
  }
  if (at !== text.length || row.length > 0) throw new Error(`no CSV from ${at}: ${text.slice(at, at + 40)}`);
  return rows;
}
