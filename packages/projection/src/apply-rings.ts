import { copyInto } from '@lockstep/postgres';

import { mergeRegister, writeDead, writeWinners } from './apply-batch.ts';
import { winnersAsCopyText } from './copy-rows.ts';
import { decide, type Decision, type Merged, wonOf } from './decide.ts';
import { faultOfTry } from './held-up.ts';
import { foldBatch } from './fold-batch.ts';
import { noteFieldsLeft } from './parked-rest.ts';
import { ringsOf } from './rings-of.ts';
import { quoted } from './statements.ts';
import type { SelfReference } from './unique-indexes.ts';
import type { Waiting, WaitingContext } from './waiting-unit.ts';
import { columnOf } from './write-plan.ts';

/*
 * Rows of one table that point to each other in a ring fit only together: new ones that point to each other, and removed ones. Postgres checks a
 * foreign key that is not deferrable at the end of the statement, so a ring is written by one statement, as it would be in one batch.
 */

/** Applies the rings among those that wait for rows of their own table; they leave `pending`. @returns whether there were any. */
export async function applyRings(context: WaitingContext, pending: Map<string, Waiting>, candidates: readonly Waiting[]): Promise<boolean> {
  if (context.constraints.selfReferences.size === 0 || candidates.length === 0) return false;
  let hasMoved = false;
  for (const ring of ringsOf(await needsOf(context, candidates))) {
    const members = candidates.filter(({ recordId }) => ring.has(recordId));
    if (!(await isApplied(context, members))) continue;
    for (const { recordId } of members) pending.delete(recordId);
    hasMoved = true;
  }
  return hasMoved;
}

/** Writes all members, or none. */
async function isApplied({ client, projection }: WaitingContext, members: readonly Waiting[]): Promise<boolean> {
  await client.query('savepoint ring');
  try {
    const merged = await mergedOf({ client, projection }, members);
    const { winners, dead } = decide(merged, projection);
    // A large group goes by its stage, which keeps what an earlier one left in it until the transaction ends.
    for (const coverage of new Set(winners.map(({ record }) => record.coverage))) {
      const { createStage, stage } = await projection.planFor(client, coverage);
      await client.query(`${createStage}; delete from ${stage}`);
    }
    await writeWinners(client, projection, { winners, allFresh: false });
    await writeDead(client, projection, dead);
    await noteFieldsLeft(client, projection, wonOf(merged));
    await client.query('set constraints all immediate; set constraints all deferred; release savepoint ring');
    return true;
  } catch (error) {
    faultOfTry(error);
    await client.query('rollback to savepoint ring; release savepoint ring');
    return false;
  }
}

const mergedOf = ({ client, projection }: Pick<WaitingContext, 'client' | 'projection'>, waiting: readonly Waiting[]): Promise<Merged[]> =>
  mergeRegister(client, projection, foldBatch(waiting.flatMap(({ messages }) => messages)));

/** Which records each needs to be written with it; the others that it needs are noted as `needed`. */
async function needsOf(context: WaitingContext, candidates: readonly Waiting[]): Promise<Map<string, Set<string>>> {
  const { client, projection, constraints, needed } = context;
  const needs = new Map(candidates.map(({ recordId }) => [recordId, new Set<string>()]));
  await client.query('savepoint search');
  try {
    const { winners, dead } = decide(await mergedOf(context, candidates), projection);
    const found: Need[] = [];
    for (const reference of constraints.selfReferences.values()) {
      for (const group of Map.groupBy(winners, ({ record }) => record.coverage).values()) found.push(...(await lackedBy(context, group, reference)));
      if (!projection.keepsDeleted) found.push(...(await pointingTo(context, dead.map(({ id }) => id), reference)));
    }
    for (const { id, other } of found) {
      if (needs.has(other)) needs.get(id)?.add(other);
      else needed.push({ other, by: [id] });
    }
  } catch (error) {
    // A value that Postgres refuses: the record's own try says so.
    faultOfTry(error);
  } finally {
    await client.query('rollback to savepoint search; release savepoint search');
  }
  return needs;
}

type Need = { readonly id: string; readonly other: string };

/** The rows that winners of one coverage point to and the table lacks. */
async function lackedBy({ client, projection }: WaitingContext, winners: Decision['winners'], { columns, referred, operators }: SelfReference): Promise<Need[]> {
  const [first] = winners;
  const plan = first && (await projection.planFor(client, first.record.coverage));
  if (plan === undefined || ![...columns, ...referred].every((column) => plan.columns.includes(column))) return [];
  const key = `"${projection.module.keyColumn}"`;
  const isReferred = (of: string): string => columns.map((column, i) => `${of}."${referred[i]}" ${operators[i]} s."${column}"`).join(' and ');
  await client.query(`${plan.createStage}; delete from ${plan.stage}`);
  await copyInto(client, `${plan.stage} (${plan.columns.map((column) => `"${column}"`).join(', ')})`, winnersAsCopyText(winners, plan));
  const byKey = referred.length === 1 && referred[0] === projection.module.keyColumn ? `s."${columns[0]}"::text` : 'null';
  const { rows } = await client.query<{ id: string; other: string | null }>(
    `select s.${key}::text as id, coalesce(o.${key}::text, ${byKey}) as other from ${plan.stage} s left join ${plan.stage} o on ${isReferred('o')}
     where ${columns.map((column) => `s."${column}" is not null`).join(' and ')} and not exists (select from ${plan.table} t where ${isReferred('t')})`,
  );
  return rows.flatMap(({ id, other }) => (other === null || other === id ? [] : [{ id, other }]));
}

/** The rows that point to those that are to be removed. */
async function pointingTo({ client, projection: { module, table } }: WaitingContext, ids: readonly string[], { columns, referred, operators }: SelfReference): Promise<Need[]> {
  if (ids.length === 0) return [];
  const [key, name] = [`"${module.keyColumn}"`, `"${module.table.schema}"."${module.table.name}"`];
  const { rows } = await client.query<Need>(
    `select t.${key}::text as id, o.${key}::text as other from ${name} t join ${name} o on ${columns.map((column, i) => `t.${quoted(referred[i] as string)} ${operators[i]} o.${quoted(column)}`).join(' and ')}
     where t.${key} = any($1::${columnOf(table, module.keyColumn).type}[]) and o.${key} <> t.${key}`,
    [ids],
  );
  return rows;
}
