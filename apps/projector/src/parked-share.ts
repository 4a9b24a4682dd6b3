import { ProjectionError } from '@lockstep/projection';

/** Below this many parked messages a share says nothing. */
const ALWAYS_ALLOWED = 100;
const MAX_SHARE = 0.01;

/** Watches how much of each module is parked since this process began: a lot means that mapping and table do not match. */
export class ParkedShare {
  readonly #counts = new Map<string, { applied: number; parked: number }>();

  /** @throws {ProjectionError} `TOO_MANY_PARKED` when more than 1 %, and more than 100 messages, could not be applied. */
  note(module: string, { applied, refused, rejects }: { applied: number; refused: number; rejects: number }): void {
    const counts = this.#counts.get(module) ?? { applied: 0, parked: 0 };
    counts.applied += applied + refused;
    counts.parked += rejects;
    this.#counts.set(module, counts);
    if (rejects === 0 || counts.parked <= ALWAYS_ALLOWED || counts.parked <= MAX_SHARE * (counts.applied + counts.parked)) return;
    throw new ProjectionError(`${counts.parked} of ${counts.applied + counts.parked} messages of ${module} are parked: the mapping and the table do not match. See lockstep.parked`, 'TOO_MANY_PARKED');
  }
}
