import type { LeftOut, LeftOutOfModule } from '@lockstep/postgres';

import type { memoryFieldsMissing } from './memory-fields-missing.ts';
import type { memoryLooksAside } from './memory-looks-aside.ts';
import type { MemoryProjection } from './memory-projection.ts';

type Stores = { readonly projection: Pick<MemoryProjection, 'parked'>; readonly aside: Pick<ReturnType<typeof memoryLooksAside>, 'of'>; readonly fields: Pick<ReturnType<typeof memoryFieldsMissing>, 'of'> };

/** What the table of a module lacks, in memory. Partitions that halt or stand still are not simulated. */
export const memoryLeftOut = ({ projection, aside, fields }: Stores) => ({
  leftOut: async (module: string): Promise<LeftOutOfModule> => ({
    halted: null,
    stuck: null,
    parked: leftOutOf(projection.parked(module).map(({ code, parkedMs }) => ({ since: new Date(parkedMs), cause: `${code}: the table refuses it` }))),
    aside: leftOutOf(aside.of(module).map(({ since, code, cause }) => ({ since, cause: `${code}: ${cause}` }))),
    deadLetters: null, missingFields: leftOutOf(fields.of(module).map(({ since, field, cause }) => ({ since, cause: `${field}: ${cause}` }))),
  }),
});

function leftOutOf(rows: readonly { readonly since: Date; readonly cause: string }[]): LeftOut | null {
  const [first] = rows;
  return first === undefined ? null : { count: rows.length, since: new Date(Math.min(...rows.map(({ since }) => since.getTime()))), cause: first.cause };
}
