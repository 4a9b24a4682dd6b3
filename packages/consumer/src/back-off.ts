/** How the sender waits: see {@link defaultBackOff}. */
export type BackOff = {
  /** Wait after the first failure of a delivery; doubled at each further one. */
  readonly firstMs: number;
  readonly maxMs: number;
  /** From so many failures in a row on, of whatever deliveries, the receiver counts as down, and one delivery at a time tries it. */
  readonly downAfter: number;
  /** Longest wait between two tries of a receiver that is down. */
  readonly maxProbeMs: number;
};

/** 1 s, 2 s, 4 s, … 6 hours for one delivery; 1 s, 2 s, … a minute for a receiver that is down. */
export const defaultBackOff: BackOff = { firstMs: 1_000, maxMs: 6 * 3_600_000, downAfter: 5, maxProbeMs: 60_000 };

/** From so many failed attempts on, a delivery is reported as one that a person should look at. It is tried on. */
export const REPORT_AFTER_ATTEMPTS = 8;

/** Wait before the next attempt of a delivery that has failed so often, milliseconds. @param jitter from 0 to 1. */
export const retryInMs = ({ firstMs, maxMs }: BackOff, failures: number, jitter: number): number => Math.min(firstMs * 2 ** (failures - 1), maxMs) * (0.75 + jitter / 4);

/** Wait before a receiver that is down is tried again, milliseconds; 0 while it is not. */
export const probeInMs = ({ firstMs, downAfter, maxProbeMs }: BackOff, failuresInRow: number): number =>
  failuresInRow < downAfter ? 0 : Math.min(firstMs * 2 ** (failuresInRow - downAfter), maxProbeMs);
