import { CrmError, type FieldMeta } from '@lockstep/crm-client';
import { deals, products } from '@lockstep/modules';
import { createLogger, createMetrics, realTime } from '@lockstep/telemetry';
import { beforeEach, expect, test } from 'vitest';

import { FieldFacts } from './field-facts.ts';
import { createReaderMetrics } from './metrics.ts';

const MINUTE = 60_000;
let elapsed: number;
let reads: string[];
let reply: () => FieldMeta[];
let facts: FieldFacts;

const list = (values: string[]): FieldMeta => ({ apiName: 'Competitors', dataType: 'multiselectpicklist', textarea: null, values });
const rich: FieldMeta = { apiName: 'Description', dataType: 'textarea', textarea: 'rich_text', values: [] };
const cut = (cell: string): string | undefined => facts.of('Deals').multiSelects.get('Competitors')?.(cell).text;
const readsUntil = async (minutes: number): Promise<number> => {
  for (const end = elapsed + minutes * MINUTE; elapsed < end; elapsed += MINUTE) await facts.readDue();
  return reads.length;
};

beforeEach(() => {
  [elapsed, reads] = [0, []];
  reply = () => [list(['A', 'B, C']), rich];
  facts = new FieldFacts({
    crm: {
      fieldsOf: async (module) => {
        reads.push(module);
        return reply();
      },
    },
    modules: [deals],
    metrics: createReaderMetrics(createMetrics({ app: 'test' })),
    log: createLogger({ app: 'test', level: 'silent', isPretty: false }),
    time: { ...realTime, elapsed: () => elapsed },
  });
});

test('nothing is cut before they are read, and by the picklist afterwards', async () => {
  expect([facts.of('Deals').isKnown, cut('A,B, C')]).toEqual([false, undefined]);
  await facts.readDue();
  expect([facts.of('Deals').isKnown, cut('A,B, C'), [...facts.of('Deals').richTexts]]).toEqual([true, 'A;B, C', ['Description']]);
  expect(facts.of(products.apiName).isKnown).toBe(false);
});

test('they are read again each hour', async () => {
  expect(await readsUntil(59)).toBe(1);
  expect(await readsUntil(2)).toBe(2);
  expect(await readsUntil(60)).toBe(3);
});

test('what cannot be read is tried again less and less often, and work goes on with what is known', async () => {
  await facts.readDue();
  reply = () => {
    throw new CrmError('no scope', 'CRM_UNAUTHORIZED', { crmCode: 'OAUTH_SCOPE_MISMATCH' });
  };
  await readsUntil(61);
  expect(cut('A,B, C')).toBe('A;B, C');
  reads = [];
  expect(await readsUntil(10 * 60)).toBeLessThan(17);
  reply = () => [list(['A', 'B', 'C'])];
  await readsUntil(61);
  expect(cut('A,B,C')).toBe('A;B;C');
});

test('a value that they do not explain has them read within minutes; where that brings nothing new, less and less often', async () => {
  await facts.readDue();
  reply = () => [list(['A', 'B, C', 'New'])];
  facts.contradicted('Deals');
  expect(await readsUntil(3)).toBe(2);
  expect(cut('A,New')).toBe('A;New');
  reads = [];
  for (let minute = 0; minute < 300; minute += 1) {
    facts.contradicted('Deals');
    await readsUntil(1);
  }
  expect(reads.length).toBeLessThan(12);
});
