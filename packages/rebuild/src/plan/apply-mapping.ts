import { topicOf } from '@lockstep/modules';
import { adoptMapping, mappingChange, mappingState, type ModuleProjection, noteComplete } from '@lockstep/projection';

import { rebuildModule } from '../rebuild-module.ts';
import type { LeftDifference } from '../repair.ts';
import { checkReaches, checkWhole, readPositions, type Verification, type VerifyDeps, verifyModule, type VerifyOptions } from '../verify-module.ts';
import type { UnfitContent } from './field-fold.ts';
import { fillFields } from './fill-fields.ts';
import { tryParkedAgain, type TriedAgain } from './try-parked-again.ts';

export type ApplyOptions = Pick<VerifyOptions, 'topic' | 'atMost' | 'onProgress'> & {
  /** Whether all of the module is verified afterwards; true by default. */
  readonly isProven?: boolean;
};

/** What was done to a table so that it is what a changed definition says. */
export type AppliedMapping = {
  readonly module: string;
  readonly columns: readonly string[];
  /** Whether another mapping was written by until now: processes that were started with it write nothing more of the module. */
  readonly isAdopted: boolean;
  /** Rows that were written, added and removed ones among them, and seconds until they were. */
  readonly rows: number;
  readonly seconds: number;
  /** Records that could not be written, and contents that do not fit, which leave their rows as they are. */
  readonly left: readonly LeftDifference[];
  readonly unfit: readonly UnfitContent[];
  readonly parked: TriedAgain;
  /** Whether all is written that can be; else the next run goes on. */
  readonly isComplete: boolean;
  /** What a comparison of all of the module found afterwards; null where none was wanted. */
  readonly proof: Verification | null;
};

/**
 * Makes this build's definition of a module the one that is written by, and its table what the log says by it. First the fence: from then on no process
 * writes by the former definition. Then what differs in the columns that are not known to be filled, in place, partition by partition. Ended in the
 * middle, it goes on when it is called again; a projector of this build may run meanwhile.
 * @throws {RebuildError} see its codes; {@link ProjectionError} `TABLE_UNFIT`, before anything is changed.
 */
export async function applyMapping(deps: VerifyDeps, projection: ModuleProjection, { topic = topicOf(projection.module), isProven = true, ...options }: ApplyOptions = {}): Promise<AppliedMapping> {
  const { pool, admin } = deps;
  const { module } = projection;
  const started = performance.now();
  await checkWhole(admin, topic);
  const topicId = await admin.topicId(topic);
  await checkStarted(deps, module.apiName, topic, topicId);
  const former = await mappingState(pool, module);
  await adoptMapping(pool, projection);
  const change = mappingChange((await mappingState(pool, module))?.complete ?? null, module);
  const isWhole = !change.isKnown || change.onDelete !== null;
  const filled = isWhole ? await rebuilt(deps, projection, { ...options, topic }) : await fillFields(deps, projection, change, { ...options, topic, topicId });
  const parked = await tryParkedAgain(deps, projection, topic, topicId);
  const isComplete = filled.left.length === 0 && (await noteComplete(pool, projection));
  const seconds = (performance.now() - started) / 1000;
  const proof = isProven ? await verifyModule(deps, projection, { ...options, topic }) : null;
  const isAdopted = former !== null && former.fingerprint !== projection.fingerprint;
  return { module: module.apiName, isAdopted, columns: change.fields.map(({ column }) => column), rows: filled.rows, seconds, left: filled.left, unfit: filled.unfit, parked, isComplete, proof };
}

async function checkStarted({ pool, admin }: VerifyDeps, apiName: string, topic: string, topicId: string): Promise<void> {
  const client = await pool.connect();
  try {
    await checkReaches(admin, topic, await readPositions(client, apiName, topic, topicId));
  } finally {
    client.release();
  }
}

type Filled = Pick<AppliedMapping, 'rows' | 'left' | 'unfit'>;

/** Where rows as a whole may differ, all of the module is compared and written. */
async function rebuilt(deps: VerifyDeps, projection: ModuleProjection, options: VerifyOptions): Promise<Filled> {
  const { rows, entries, left, after: { found } } = await rebuildModule(deps, projection, options);
  const unfit = found.flatMap((one) => (one.kind === 'content does not fit' ? [{ id: one.id, partition: one.partition, offset: one.offset, cause: one.cause }] : []));
  return { rows: rows + entries, left, unfit };
}
