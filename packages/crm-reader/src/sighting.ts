import type { FoundRecord, Observed } from '@lockstep/crm-client';
import type { ModuleDefinition } from '@lockstep/modules';
import { canonicalJson, instantMs, observedAt, type Sighting } from '@lockstep/record-log';

import type { DeadLetter } from './dead-letters.ts';

/** A found record as an observation; null when its `Modified_Time` is no time. */
export function sightingOf(module: ModuleDefinition, { id, modifiedTime, values }: FoundRecord, observed: Observed): Omit<Sighting, 'coverage'> | null {
  try {
    const modifiedMs = instantMs(modifiedTime);
    return { id, modifiedMs, observedMs: observedAt(observed, modifiedMs), fields: module.fields.map(({ field, kind }) => canonicalJson(kind, values[field])) };
  } catch {
    return null;
  }
}

/** The dead letter of a record that cannot be read. */
export const unreadable = (source: DeadLetter['source'], { apiName }: ModuleDefinition, { id }: FoundRecord): DeadLetter => ({
  source,
  key: id,
  position: { module: apiName, id },
  code: 'MODIFIED_TIME_MALFORMED',
  cause: 'Modified_Time is no time with an offset',
});
