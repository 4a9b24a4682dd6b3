/*
 * The rules of `packages/record-log/src/life-times.ts` in SQL; `fold-sql.pg.test.ts` holds both equal. Each function returns an
 * expression that is never null. What an expression is given twice is written twice: pass columns or constants, no subqueries.
 */

/** Expressions for the times of one record, in milliseconds. */
export type TimesSql = { readonly modified: string; readonly observed: string; readonly deleted: string; readonly listed: string };

/** The times in a row of `lockstep.record_version` under an alias. */
export const timesOf = (alias: string): TimesSql => ({ modified: `${alias}.modified_ms`, observed: `${alias}.observed_ms`, deleted: `${alias}.deleted_ms`, listed: `${alias}.listed_ms` });

/** ε as the projector noted it, to be joined: `from lockstep.record_version r, ${epsilonSetting} e`, and `e.ms`. */
export const epsilonSetting = `(select value::bigint as ms from lockstep.setting where name = 'epsilon_ms')`;

/** Whether the record exists in the CRM as far as is known. */
export const isAliveSql = ({ observed, deleted }: Pick<TimesSql, 'observed' | 'deleted'>, epsilon: string): string =>
  `(${observed} is not null and (${deleted} is null or ${observed} > ${deleted} + ${epsilon}))`;

/** Whether no doubt is left. */
export const isSettledSql = (times: TimesSql, epsilon: string): string => {
  const { modified, observed, deleted, listed } = times;
  return `(case when ${observed} is null then true
      when ${isAliveSql(times, epsilon)} then ${observed} >= coalesce(${modified}, 0) + 1000 + ${epsilon}
      else ${deleted} - ${observed} > ${epsilon} or coalesce(${listed} > ${deleted} + ${epsilon}, false) end)`;
};

/** From when on a record that is not settled may be another than it is known as. */
export const doubtSinceSql = (times: TimesSql, epsilon: string): string =>
  `(case when ${isAliveSql(times, epsilon)} then coalesce(${times.modified}, 0) else least(${times.observed}, ${times.deleted}) end)`;

/** Whether the record counts as deleted, and may have been restored before it was seen last. */
export const isDoubtfulDeathSql = (times: TimesSql, epsilon: string): string => `(${times.deleted} is not null and not ${isAliveSql(times, epsilon)} and not ${isSettledSql(times, epsilon)})`;
