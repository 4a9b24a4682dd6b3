import { createRequire } from 'node:module';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type * as Sdk from '@zohocrm/typescript-sdk-8.0';

import { type Simulator, startSimulator } from './simulator.ts';

/*
 * The vendor's own SDK talks to the simulator: what it sends is understood, and what it gets is taken into its own classes. It
 * refuses a reply of another form than the vendor's, which is what holds the simulator to it.
 */

// The SDK is CommonJS whose named exports Node cannot see.
const sdk = createRequire(import.meta.url)('@zohocrm/typescript-sdk-8.0') as typeof Sdk;

let crm: Simulator;
let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'simulator-sdk-'));
  crm = await startSimulator({ records: { Leads: 25, Deals: 5, Products: 5 }, jobDelayMs: 0 });
  const token = new sdk.OAuthBuilder().clientId('simulator').clientSecret('simulator').refreshToken('simulator').build();
  const initializer = await (new sdk.InitializeBuilder() as unknown as Promise<Sdk.InitializeBuilder>); // its constructor returns a promise
  await initializer
    .environment(new sdk.Environment(crm.url, `${crm.url}/oauth/v2/token`, crm.url))
    .token(token)
    .store(new sdk.FileStore(join(folder, 'tokens.csv')))
    .SDKConfig(new sdk.SDKConfigBuilder().pickListValidation(false).autoRefreshFields(false).build())
    .resourcePath(folder)
    .logger(new sdk.LogBuilder().level(sdk.Levels.OFF).filePath(join(folder, 'sdk.log')).build())
    .initialize();
}, 30_000);

afterAll(async () => {
  await crm.close();
  await rm(folder, { recursive: true, force: true });
});

/** The body of a reply, as an instance of the SDK's own class. */
function bodyOf<T>(reply: { getStatusCode(): number; getObject(): unknown }, status: number, type: abstract new (...args: never[]) => T): T {
  expect(reply.getStatusCode()).toBe(status);
  const body = reply.getObject();
  expect(body).toBeInstanceOf(type);
  return body as T;
}

describe('the vendor\'s SDK', () => {
  test('creates a bulk read job, asks for its status, and downloads the result', async () => {
    const { BulkRead } = sdk;
    const operations = new BulkRead.BulkReadOperations();
    const module = new sdk.Modules.MinifiedModule();
    module.setAPIName('Leads');
    const query = new BulkRead.Query();
    query.setModule(module);
    query.setFields(['Last_Name', 'Company']);
    const request = new BulkRead.BodyWrapper();
    request.setQuery(query);
    request.setFileType('csv');

    const created = bodyOf(await operations.createBulkReadJob(request), 201, BulkRead.ActionWrapper);
    const answer = created.getData()[0] as Sdk.BulkRead.SuccessResponse;
    expect(answer.getCode().getValue()).toBe('ADDED_SUCCESSFULLY');
    const jobId = answer.getDetails().get('id') as bigint;

    const job = await ended(operations, jobId);
    expect(job.getState().getValue()).toBe('COMPLETED');
    expect(job.getResult().getCount()).toBe(25);
    expect(job.getResult().getMoreRecords()).toBe(false);

    const file = bodyOf(await operations.downloadResult(jobId), 200, BulkRead.FileBodyWrapper);
    expect(file.getFile().getName()).toContain(String(jobId));
  });

  test('enables, lists and disables notifications', async () => {
    const { Notifications } = sdk;
    const operations = new Notifications.NotificationsOperations();
    const wanted = new Notifications.Notification();
    wanted.setChannelId('1006800211');
    wanted.setEvents(['Leads.all']);
    wanted.setNotifyUrl('http://127.0.0.1:9/notifications');
    wanted.setToken('token of the channel');
    wanted.setChannelExpiry(new Date(Date.now() + 3_600_000));
    const request = new Notifications.BodyWrapper();
    request.setWatch([wanted]);

    const enabled = bodyOf(await operations.enableNotifications(request), 201, Notifications.ActionWrapper);
    expect((enabled.getWatch()[0] as Sdk.Notifications.SuccessResponse).getCode().getValue()).toBe('SUCCESS');

    const listed = bodyOf(await operations.getNotifications(), 200, Notifications.ResponseWrapper);
    expect(listed.getWatch().map((channel) => [channel.getChannelId(), channel.getResourceName()])).toEqual([['1006800211', 'Leads']]);

    const params = new sdk.ParameterMap();
    await params.add(Notifications.DeleteNotificationParam.CHANNEL_IDS, '1006800211');
    const disabled = bodyOf(await operations.deleteNotification(params), 200, Notifications.ActionWrapper);
    expect((disabled.getWatch()[0] as Sdk.Notifications.SuccessResponse).getStatus().getValue()).toBe('success');
    expect((await operations.getNotifications()).getStatusCode()).toBe(204);
  });

  test('gets records', async () => {
    const params = new sdk.ParameterMap();
    await params.add(sdk.Record.GetRecordsParam.FIELDS, 'Last_Name,Company,Modified_Time');
    await params.add(sdk.Record.GetRecordsParam.PER_PAGE, 10);
    const found = bodyOf(await new sdk.Record.RecordOperations('Leads').getRecords(params, new sdk.HeaderMap()), 200, sdk.Record.ResponseWrapper);
    const expected = crm.record('Leads', String(found.getData()[0]?.getId()));
    expect(found.getData()).toHaveLength(10);
    expect(found.getData()[0]?.getKeyValue('Last_Name')).toBe(expected.Last_Name);
    expect(found.getInfo().getMoreRecords()).toBe(true);
  });

  test('queries by COQL', async () => {
    const request = new sdk.Coql.BodyWrapper();
    request.setSelectQuery(`select Last_Name, Modified_Time from Leads where id in ('${crm.firstIds('Leads', 2).join("', '")}') limit 10`);
    const found = bodyOf(await new sdk.Coql.CoqlOperations().getRecords(request), 200, sdk.Coql.ResponseWrapper);
    expect(found.getData().map((record) => String(record.getId()))).toEqual(crm.firstIds('Leads', 2));
  });

  test('lists deleted records', async () => {
    const [id = ''] = crm.firstIds('Products', 1);
    crm.deleteRecord('Products', id);
    const found = bodyOf(await new sdk.Record.RecordOperations('Products').getDeletedRecords(new sdk.ParameterMap(), new sdk.HeaderMap()), 200, sdk.Record.DeletedRecordsWrapper);
    expect(found.getData().map((record) => String(record.getId()))).toEqual([id]);
  });

  test('reads the fields of a module', async () => {
    const params = new sdk.ParameterMap();
    await params.add(sdk.Fields.GetFieldsParam.MODULE, 'Leads');
    const found = bodyOf(await new sdk.Fields.FieldsOperations().getFields(params), 200, sdk.Fields.ResponseWrapper);
    expect(found.getFields().map((field) => field.getAPIName())).toContain('Last_Name');
  });
});

async function ended(operations: Sdk.BulkRead.BulkReadOperations, jobId: bigint): Promise<Sdk.BulkRead.JobDetail> {
  for (;;) {
    const body = bodyOf(await operations.getBulkReadJobDetails(jobId), 200, sdk.BulkRead.ResponseWrapper);
    const job = body.getData()[0] as Sdk.BulkRead.JobDetail;
    if (['COMPLETED', 'FAILURE'].includes(job.getState().getValue())) return job;
  }
}
