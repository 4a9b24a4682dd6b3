import type { FastifyInstance } from 'fastify';

import { catalogue, findModule, type ModuleSpec } from '../catalogue/catalogue.ts';
import type { FieldKind, FieldSpec } from '../catalogue/field-spec.ts';
import { ApiError, invalidModule } from '../errors.ts';
import { hashText } from '../random.ts';
import { idOf, keyBase } from '../record-ids.ts';
import { nothing, paramsOf } from './world.ts';

/** The vendor's words for a kind. */
const dataTypes: Partial<Record<FieldKind, string>> = { id: 'bigint', tags: 'text', layout: 'bigint' };
const jsonTypes: Partial<Record<FieldKind, string>> = {
  integer: 'integer',
  double: 'double',
  currency: 'double',
  percent: 'double',
  boolean: 'boolean',
  multiselectpicklist: 'jsonarray',
  tags: 'jsonarray',
  subform: 'jsonarray',
  multiselectlookup: 'jsonarray',
  fileupload: 'jsonarray',
  lookup: 'jsonobject',
  ownerlookup: 'jsonobject',
  userlookup: 'jsonobject',
  layout: 'jsonobject',
};

const fieldId = (module: ModuleSpec, field: FieldSpec): string => idOf(keyBase.fields + module.position * 1000 + module.fields.indexOf(field));

/** `GET /crm/v{n}/settings/fields` and `/settings/modules`, each whole or one by one. */
export function metadataRoutes(app: FastifyInstance): void {
  app.get('/settings/fields', async (request, reply) => {
    const { module: name, type = 'used' } = paramsOf(request);
    const module = moduleOf(name);
    if (type === 'unused') return nothing(reply, 204);
    return { fields: module.fields.map((field) => fieldMeta(module, field)) };
  });
  app.get<{ Params: { field: string } }>('/settings/fields/:field', async (request, reply) => {
    const module = moduleOf(paramsOf(request).module);
    const field = module.fields.find((candidate) => fieldId(module, candidate) === request.params.field);
    return field === undefined ? nothing(reply, 204) : { fields: [fieldMeta(module, field)] };
  });
  app.get('/settings/modules', async () => ({ modules: catalogue.map(moduleMeta) }));
  app.get<{ Params: { name: string } }>('/settings/modules/:name', async (request) => ({ modules: [moduleMeta(moduleOf(request.params.name))] }));
}

function moduleOf(name: string | undefined): ModuleSpec {
  if (name === undefined) throw new ApiError(400, 'REQUIRED_PARAM_MISSING', 'One of the expected parameter is missing', { param_name: 'module' });
  const module = catalogue.find((candidate) => candidate.id === name) ?? findModule(name);
  if (module === undefined) throw invalidModule();
  return module;
}

function moduleMeta(module: ModuleSpec) {
  return {
    api_name: module.apiName,
    module_name: module.apiName,
    id: module.id,
    singular_label: module.singular,
    plural_label: module.apiName,
    api_supported: true,
    generated_type: 'default',
    visible: true,
    viewable: true,
    creatable: true,
    editable: true,
    deletable: true,
    modified_time: null,
    recycle_bin_on_delete: true,
    status: 'visible',
    sequence_number: module.position + 1,
  };
}

function fieldMeta(module: ModuleSpec, field: FieldSpec) {
  return {
    id: fieldId(module, field),
    api_name: field.apiName,
    field_label: field.label,
    display_label: field.label,
    data_type: dataTypes[field.kind] ?? field.kind,
    json_type: jsonTypes[field.kind] ?? 'string',
    length: field.length,
    decimal_place: field.decimalPlaces,
    custom_field: field.custom,
    system_mandatory: field.mandatory,
    read_only: field.readOnly,
    field_read_only: field.readOnly,
    visible: true,
    type: 'used',
    virtual_field: false,
    display_type: -1,
    created_source: field.custom ? 'crm' : 'default',
    pick_list_values: field.picks.map((value, at) => ({
      display_value: value,
      actual_value: value,
      reference_value: value,
      sequence_number: at + 1,
      id: idOf(keyBase.picks + (hashText(`${module.apiName}.${field.apiName}.${value}`) % 200_000)),
      type: 'used',
      colour_code: null,
    })),
    pick_list_values_sorted_lexically: false,
    enable_colour_code: false,
    lookup: field.lookupModule === null ? {} : { module: { api_name: field.lookupModule, id: findModule(field.lookupModule)?.id ?? null } },
    multiselectlookup: {},
    formula: {},
    auto_number: field.kind === 'autonumber' ? { prefix: '', suffix: '', start_number: 1 } : {},
    currency: field.kind === 'currency' ? { rounding_option: 'normal', precision: 2 } : {},
    unique: {},
    external: null,
    private: null,
    textarea: field.textarea === null ? null : { type: field.textarea },
    column_name: field.apiName.toUpperCase(),
    default_value: null,
    created_time: null,
    modified_time: null,
  };
}
