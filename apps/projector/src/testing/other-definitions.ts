import { defineModule } from '@lockstep/modules';

/** Definitions for another database: other schema, table, column names, types and treatment of deletions. */
export const modules = [
  defineModule({
    apiName: 'Leads',
    slug: 'leads',
    table: { schema: 'sales', name: 'prospect' },
    keyColumn: 'crm_id',
    modifiedTimeColumn: 'changed_at',
    onDelete: { action: 'remove' },
    fields: [
      { field: 'Last_Name', kind: 'text', column: 'surname', type: 'text' },
      { field: 'Company', kind: 'text', column: 'firm', type: 'text' },
      { field: 'Annual_Revenue', kind: 'decimal', column: 'revenue', type: 'numeric' },
      { field: 'City', kind: 'text', column: 'town', type: 'text' },
    ],
  }),
];
