export { hintWantedLooks } from './hint-wanted-looks.ts';
export type { HintWantedLooksDeps } from './hint-wanted-looks.ts';
export { createPlannerMetrics } from './metrics.ts';
export type { PlannerMetrics } from './metrics.ts';
export { Planner } from './planner.ts';
export type { PlannerDeps } from './planner.ts';
export { startRefresh } from './refresh.ts';
export type { RefreshDeps } from './refresh.ts';
