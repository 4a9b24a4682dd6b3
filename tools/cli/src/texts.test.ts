import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';

import type { AppliedMapping, Explanation, MappingPlan } from '@lockstep/rebuild';
import { afterEach, expect, test } from 'vitest';

import { explanationText, historyText } from './history.ts';
import { appliedText, planText } from './mapping-text.ts';
import { fetchStatus, projectorProblem, table } from './status.ts';

const open: { close(): void }[] = [];
afterEach(() => {
  for (const server of open.splice(0)) server.close();
});

async function answering(status: number, body: string): Promise<string> {
  const server = createServer((_, reply) => reply.writeHead(status).end(body));
  open.push(server);
  await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', () => resolve()));
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

test('columns stand below each other, whatever their characters', () => {
  expect(table([['名前', 'x'], ['e\u0301', 'y'], ['four', 'z']])).toEqual(['名前  x', 'e\u0301     y', 'four  z']);
});

test('the history of what was never seen says so, up to when, and what waits', () => {
  expect(historyText('leads', '17', [], {})).toBe('Leads 17: the log has nothing of it\n');
  expect(historyText('Leads', '17', [], { asOf: 0 })).toBe('Leads 17: the log had nothing of it by 1970-01-01T00:00:00.000Z\n');
  expect(historyText('Leads', '17', [], { notYetApplied: 1 })).toBe('Leads 17: the log has nothing of it\n1 message of it waits for the projector\n');
});

test('an explanation does not credit a message with a value that it does not have', () => {
  const from = { field: 'Company', partition: 3, offset: 17, origin: 'look', value: 'Ada' };
  const explanation = { module: 'Leads', id: '1', history: [{}], notYetApplied: 0, row: [{ column: 'company', inTable: 'by hand', from }], isAlive: true, isSettled: true, hiddenSince: null, lookWanted: null, parked: [] } as unknown as Explanation;
  expect(explanationText(explanation, new Map([['company', 'Ada']]))).toContain('"by hand"     Company, 3/17 (look), which says "Ada": changed by hand');
  expect(explanationText(explanation, new Map())).not.toContain('by hand,');
});

test('who applies another definition is asked to restart the projector', () => {
  const applied: AppliedMapping = { module: 'Leads', columns: [], isAdopted: true, rows: 0, seconds: 0, left: [], unfit: [], parked: { tried: 0, resolved: 0 }, isComplete: true, proof: null };
  expect(appliedText(applied)).toContain('restart it with this one');
  expect(appliedText({ ...applied, isAdopted: false })).not.toContain('restart');
});

test('a projector that is not in order says why; one that is gone is missed', async () => {
  const halted = await answering(503, JSON.stringify({ ok: false, checks: { partitions: '4 partitions are halted', postgres: 'ok' } }));
  expect(await projectorProblem(halted)).toBe('4 partitions are halted');
  expect(await projectorProblem(await answering(200, JSON.stringify({ ok: true, checks: { postgres: 'ok' } })))).toBeNull();
  expect(await projectorProblem('http://127.0.0.1:1')).toBe('it does not answer at http://127.0.0.1:1');
  expect(await projectorProblem(undefined)).toBeNull();
});

test('a scheduler that answers with an error, or with something else, is quoted in a line', async () => {
  await expect(fetchStatus(await answering(500, '{"error":"no schema"}'))).rejects.toThrow(/answers 500: \{"error":"no schema"\}$/);
  await expect(fetchStatus(await answering(200, '{}'))).rejects.toThrow(/of another build/);
});

test('a plan that moves a field to a missing column names the renaming as well', () => {
  const mapping = { field: 'Fax', kind: 'text', type: 'text' };
  const changes = [{ column: 'fax_no', change: 'mapped', from: null, to: mapping }, { column: 'fax', change: 'unmapped', from: mapping, to: null }];
  const plan = { module: 'Leads', isKnown: true, isChange: true, changes, onDelete: null, missing: [{ column: 'fax_no', ddl: 'alter table "public"."leads" add column "fax_no" text' }], retyped: [], faults: [], rows: 0, columns: {}, found: [], added: 0, removed: 0, marked: 0, others: [], unfit: [], unfitCount: 0, parked: 0 } as unknown as MappingPlan;
  expect(planText(plan)).toContain('\nor, where fax is to have another name: alter table "public"."leads" rename column "fax" to "fax_no";\n');
  expect(planText({ ...plan, changes: plan.changes.slice(0, 1) })).not.toContain('rename');
});
