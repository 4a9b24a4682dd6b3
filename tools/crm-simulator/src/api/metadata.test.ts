import { afterAll, beforeAll, expect, test } from 'vitest';

import { bulkJob, type CrmUnderTest, type Json, parsedCsv, startCrm, unzipped } from '../crm-under-test.ts';

let crm: CrmUnderTest;

beforeAll(async () => {
  crm = await startCrm({ records: { Leads: 1, Deals: 1, Products: 1 }, utcOffset: '-07:00' });
});
afterAll(() => crm.close());

const fieldsOf = async (module: string): Promise<Json[]> => (await crm.get(`/crm/v8/settings/fields?module=${module}`)).body['fields'] as Json[];

test.each(['Leads', 'Deals', 'Products'])('the fields of %s are those of its CSV, and the kinds that no CSV holds', async (module) => {
  const fields = await fieldsOf(module);
  const job = await bulkJob(crm, { module: { api_name: module } });
  const [header = []] = parsedCsv(unzipped((await crm.get(`/crm/bulk/v8/read/${job['id']}/result`)).bytes).text);
  const structures = ['subform', 'multiselectlookup', 'fileupload'];
  const flat = fields.filter(({ data_type: type }) => !structures.includes(type as string)).map(({ api_name: name }) => (name === 'id' ? 'Id' : (name as string)));
  expect(flat).toEqual(header);
  expect(new Set(fields.map(({ id }) => id as string)).size).toBe(fields.length);
});

test('Leads has forty fields or more, of every kind a CSV holds', async () => {
  const fields = await fieldsOf('Leads');
  const kinds = new Set(fields.map(({ data_type: type }) => type as string));
  const wanted = ['text', 'email', 'phone', 'website', 'textarea', 'picklist', 'multiselectpicklist', 'boolean', 'integer', 'bigint', 'double', 'currency', 'percent', 'date', 'datetime', 'autonumber', 'lookup', 'ownerlookup'];
  expect(fields.length).toBeGreaterThanOrEqual(40);
  expect(wanted.filter((kind) => !kinds.has(kind))).toEqual([]);
});

test('a picklist lists its values, a lookup its module', async () => {
  const fields = Object.fromEntries((await fieldsOf('Deals')).map((field) => [field['api_name'] as string, field]));
  expect(fields['Stage']?.['pick_list_values'][0]).toMatchObject({ display_value: 'Qualification', actual_value: 'Qualification', sequence_number: 1 });
  expect(fields['Account_Name']).toMatchObject({ data_type: 'lookup', json_type: 'jsonobject', lookup: { module: { api_name: 'Accounts' } } });
});

test('one field is requested by its id, unused ones are none', async () => {
  const [field] = await fieldsOf('Leads');
  expect((await crm.get(`/crm/v7/settings/fields/${field?.['id']}?module=Leads`)).body['fields']).toEqual([field]);
  expect((await crm.get('/crm/v6/settings/fields?module=Leads&type=unused')).status).toBe(204);
  expect((await crm.get('/crm/v8/settings/fields?module=Nothing')).body['code']).toBe('INVALID_MODULE');
});

test('modules are listed, and one is requested by name', async () => {
  const { modules } = (await crm.get('/crm/v8/settings/modules')).body as { modules: Json[] };
  expect(modules.map(({ api_name: name }) => name as string)).toEqual(['Leads', 'Deals', 'Products']);
  expect((await crm.get('/crm/v8/settings/modules/Deals')).body['modules']).toEqual([modules[1]]);
});

test('users shows who calls, in which zone; org shows whose data it is', async () => {
  const [user] = (await crm.get('/crm/v8/users?type=CurrentUser')).body['users'];
  expect(user).toMatchObject({ full_name: 'Integration User', offset: -7 * 3_600_000, status: 'active' });
  expect((await crm.get(`/crm/v8/users/${user.id}`)).body['users']).toEqual([user]);
  expect((await crm.get('/crm/v8/users')).body['info'].count).toBeGreaterThan(1);
  expect((await crm.get('/crm/v8/org')).body['org']).toMatchObject([{ company_name: 'Simulated Organisation' }]);
});

test('another path is 404', async () => {
  expect((await crm.get('/crm/v8/a/b/c')).body).toMatchObject({ code: 'INVALID_URL_PATTERN', status: 'error' });
});
