export type { Applied, Batch } from './apply-batch.ts';
export { writeCopyFields } from './copy-text.ts';
export { ProjectionError } from './errors.ts';
export type { ProjectionErrorCode } from './errors.ts';
export type { LogMessage } from './fold-batch.ts';
export { adoptMapping, ModuleProjection } from './module-projection.ts';
export { loadPositions } from './positions.ts';
export type { Positions } from './positions.ts';
export { projectBatch } from './project-batch.ts';
