import { applyRings } from './apply-rings.ts';
import { type Fault, pointsElsewhere } from './fault-of-data.ts';
import { faultOfTry } from './held-up.ts';
import { type Stuck, type Waiting, type WaitingContext, WaitingUnit } from './waiting-unit.ts';

/*
 * Each record that waits is a unit of its own, under a savepoint: merge its register, write its row, check deferrable constraints. Where
 * another one of those that wait holds a unique value that the row needs, that one joins the unit:
 *
 *   write the row ─ conflict ─▶ whose is the value? ─▶ write that row first; where it is begun already (a ring), empty its column
 *
 * Should that fail, the unit may be tried the other way round: the holder's column is emptied, and its row is written afterwards. It may
 * point to the row that takes its value. A unit is kept whole or not at all, so nothing that was emptied stays so, and the failure of one
 * says nothing about the others, but for those that need its value: they are stuck with it, and not tried before something has changed.
 * Once no unit moves, rows that point to each other are written together; see apply-rings.ts.
 */

/** Applies what fits. @returns the rest, and why not. */
export async function applyWaiting<T extends Waiting>(context: WaitingContext, waiting: readonly T[]): Promise<Map<T, Fault>> {
  const pending = new Map(waiting.map((one) => [one.recordId, one]));
  const faults = new Map<T, Fault>();
  for (let isMoving = true; isMoving; ) {
    isMoving = false;
    const stuck: Stuck = new Map();
    // Those that move along with another leave the map, and are skipped.
    for (const one of pending.values()) {
      const fault = stuck.get(one.recordId) ?? (await applyUnit(context, one, pending, stuck));
      if (fault === null) isMoving = pending.size > 0;
      else faults.set(one, fault);
    }
    isMoving ||= await applyRings(context, pending, waiting.filter((one) => pending.has(one.recordId) && pointsElsewhere(faults.get(one)?.code ?? '')));
  }
  return new Map([...faults].filter(([one]) => pending.has(one.recordId)));
}

/** Applies one, and all that have to move with it; those leave `pending`. @returns why it does not fit, and then nothing is changed. */
async function applyUnit(context: WaitingContext, root: Waiting, pending: Map<string, Waiting>, stuck: Stuck): Promise<Fault | null> {
  const { client } = context;
  let unit = new WaitingUnit(context, pending, stuck, 'holders first');
  await client.query('savepoint unit');
  let fault = await unit.apply(root).then(() => null, faultOfTry);
  if (fault !== null && !unit.isStuck && unit.hasMoved) {
    await client.query('rollback to savepoint unit');
    unit = new WaitingUnit(context, pending, stuck, 'holders last');
    fault = await unit.apply(root).then(() => null, faultOfTry);
  }
  if (fault !== null) {
    await client.query('rollback to savepoint unit; release savepoint unit');
    return unit.firstConflict ?? fault;
  }
  await client.query('release savepoint unit');
  for (const id of unit.written) pending.delete(id);
  return null;
}
