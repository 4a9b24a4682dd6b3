import { loggedFields, type ModuleDefinition } from '@lockstep/modules';
import type { FieldValue } from '@lockstep/record-log';

/** A long text as a bulk read gave it; `modifiedMs` says of which version. */
export type LongText = { readonly id: string; readonly modifiedMs: number; readonly field: string; readonly text: string };

/** Shorter ones are cut by nothing that is known. */
const LONG_FROM = 256;
const SAMPLES_A_FIELD = 3;

/**
 * Collects a few long texts of each field while a bulk result is read. Once it has them it costs nothing a row.
 * @param fields those to be watched.
 */
export function longTexts(module: ModuleDefinition, fields: ReadonlySet<string>): { readonly found: readonly LongText[]; take(sighting: { readonly id: string; readonly modifiedMs: number; readonly fields: readonly FieldValue[] }): void } {
  const found: LongText[] = [];
  let watched = loggedFields(module).flatMap(({ field }, at) => (fields.has(field) ? [{ field, at, left: SAMPLES_A_FIELD }] : []));
  return {
    found,
    take: ({ id, modifiedMs, fields: values }) => {
      for (const watch of watched) {
        const text = values[watch.at];
        if (typeof text !== 'string' || text.length < LONG_FROM) continue;
        found.push({ id, modifiedMs, field: watch.field, text });
        watch.left -= 1;
        if (watch.left === 0) watched = watched.filter((one) => one !== watch);
      }
    },
  };
}
