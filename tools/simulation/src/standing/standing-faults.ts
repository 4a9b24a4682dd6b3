import type { ModuleDefinition } from '@lockstep/modules';
import type { IncidentKind } from '@lockstep/postgres';

import type { Refusal, RefusalKind } from '../refusals.ts';
import type { World } from '../world.ts';

/** When a fault begins. It stays until it is lifted. */
export const standingPhases = ['before the first load', 'during it', 'while idle', 'under traffic'] as const;
export type StandingPhase = (typeof standingPhases)[number];

export type StandingSource = 'bulk job' | 'bulk download' | 'look' | 'window' | 'catch-up list' | 'deleted list' | 'restore scan' | 'channel' | 'field' | 'record' | 'database row' | 'locked row';

/**
 * A fault that stands, as a row of the dimension.
 * `touches`: what may be late meanwhile; everything else may not. A load: what no notification is about, before the module was loaded. Deletions, restores and
 * changes without a notification are read by catch-ups.
 * `incidents`: one of them has to be open within a minute, in the name of the module.
 */
export type StandingFault = {
  readonly name: string;
  readonly source: StandingSource;
  readonly kind: RefusalKind;
  readonly touches: 'load' | 'catch-ups' | 'deletions' | 'restores' | 'notifications' | 'field' | 'record';
  readonly incidents: readonly IncidentKind[];
  /** How soon after its second strike, where that may not be a minute. */
  readonly reportedWithinMs?: number;
  /** Phases in which it can be met; all of them by default. */
  readonly phases?: readonly StandingPhase[];
};

/** A notification of a deletion that is not answered is reported by the next two catch-ups, which read the same list. */
const loaded = ['while idle', 'under traffic'] as const;

export const standingFaults: readonly StandingFault[] = [
  { name: 'no bulk job is created', source: 'bulk job', kind: 'jobs', touches: 'load', incidents: ['page-unreadable'] },
  { name: 'the answer to each bulk job is lost', source: 'bulk job', kind: 'job-lost', touches: 'load', incidents: ['page-unreadable'] },
  { name: 'no result of a bulk job can be downloaded', source: 'bulk download', kind: 'download', touches: 'load', incidents: ['page-unreadable'] },
  { name: 'the deleted list fails at its eleventh page', source: 'deleted list', kind: 'list', touches: 'catch-ups', incidents: ['catch-up-failing'], reportedWithinMs: 240_000, phases: loaded },
  { name: 'the deleted list fails', source: 'catch-up list', kind: 'deletions', touches: 'catch-ups', incidents: ['catch-up-failing'] },
  { name: 'the deleted list says forever that more follow', source: 'catch-up list', kind: 'list-endless', touches: 'catch-ups', incidents: ['catch-up-failing'] },
  { name: 'the pages of a window do not advance', source: 'window', kind: 'window', touches: 'catch-ups', incidents: ['catch-up-failing'] },
  { name: 'the deleted list cannot be read further back than a month', source: 'restore scan', kind: 'scan', touches: 'restores', incidents: ['restore-scan-failing'] },
  { name: 'every query that names one record is refused', source: 'look', kind: 'look', touches: 'record', incidents: ['records-unreadable'] },
  { name: 'the server fails at one record', source: 'look', kind: 'server', touches: 'record', incidents: ['records-unreadable'] },
  { name: 'one record has no Modified_Time', source: 'record', kind: 'time', touches: 'record', incidents: ['records-unreadable'] },
  { name: 'a field is removed', source: 'field', kind: 'field', touches: 'field', incidents: ['field-missing'] },
  { name: 'channels are neither enabled nor extended', source: 'channel', kind: 'channel', touches: 'notifications', incidents: ['channel-lost'] },
  { name: 'a trigger refuses one row', source: 'database row', kind: 'row', touches: 'record', incidents: ['messages-parked'] },
  { name: 'another session holds one row locked', source: 'locked row', kind: 'locked', touches: 'record', incidents: ['messages-parked'] },
];

/** A field of each module that may be removed, and one that is edited to see whether changes arrive. */
export const removable: Readonly<Record<string, string>> = { Leads: 'Lead_Score', Deals: 'Probability', Products: 'Product_Code' };
export const probed: Readonly<Record<string, string>> = { Leads: 'Company', Deals: 'Deal_Name', Products: 'Product_Name' };

/** The refusal that the fault is in a world; one of a record is of its module's first. */
export function refusalOfStanding({ kind }: StandingFault, { apiName: module }: ModuleDefinition, { crm }: World): Refusal {
  const [id = ''] = crm.records.ids(module);
  switch (kind) {
    case 'look':
    case 'server':
    case 'time':
    case 'row':
    case 'locked':
      return { kind, module, id };
    case 'field':
      return { kind, module, field: removable[module] ?? '' };
    case 'jobs':
    case 'job-lost':
    case 'download':
    case 'list':
    case 'deletions':
    case 'list-endless':
    case 'scan':
    case 'window':
    case 'channel':
      return { kind, module };
  }
}
