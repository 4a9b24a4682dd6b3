/** How many records of a module the CRM counts and the register holds alive and visible, and how many changed so lately that they may be missing in one of the two. */
export type CountCheck = { readonly crm: number; readonly register: number; readonly underWay: number };

/**
 * Whether records are missing on one side: two checks in a row say so, the same side, and by more than what is under way.
 * @param hasConverted whether the module's records can be converted: the CRM need not count those, so only more than expected is wrong.
 */
export function isCountWrong(previous: CountCheck | null, current: CountCheck, hasConverted: boolean): boolean {
  const before = previous === null ? 0 : surplus(previous);
  const now = surplus(current);
  return Math.sign(before) === Math.sign(now) && (hasConverted ? now > 0 : now !== 0);
}

/** By how many records the CRM counts more than can be explained; negative for fewer. */
function surplus({ crm, register, underWay }: CountCheck): number {
  const difference = crm - register;
  return Math.sign(difference) * Math.max(0, Math.abs(difference) - underWay);
}
