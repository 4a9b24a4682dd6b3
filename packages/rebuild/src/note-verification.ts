import { verifications } from '@lockstep/postgres';
import type { Pool } from 'pg';

import type { Verification } from './verify-module.ts';

/** How many differences are kept for people. */
const KEPT = 20;

/** Notes what came of a comparison, for `lockstep.freshness`. */
export async function noteVerification(pool: Pool, { module, topicId, positions, records, counts, found }: Verification): Promise<void> {
  const differences = Object.values(counts).reduce((sum, count) => sum + count, 0);
  const endOffsets = positions.toSorted((a, b) => a.partition - b.partition).map(({ end }) => end);
  await verifications({ pool }).note({ module, topicId, endOffsets, records, differences, found: found.slice(0, KEPT) });
}
