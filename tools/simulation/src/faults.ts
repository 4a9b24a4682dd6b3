/*
 * The faults that a life may meet, and when. What is added here has to be met: a run of many seeds in which one of these never
 * happened proves nothing about it, and fails.
 */

export const faults = [
  'call-failed',
  'call-slow',
  'read-stale',
  'read-late',
  'job-failed',
  'channel-shortened',
  'channel-lost',
  'notification-dropped',
  'notification-doubled',
  'notification-delayed',
  'process-died',
  'everything-died',
  'store-failed',
  'store-answer-lost',
  'store-away',
  'log-failed',
  'log-answer-lost',
  'log-away',
  'send-halved',
  'batch-handed-over',
  'zombie-fenced',
  'value-never-fits',
  'row-conflicts',
  'removal-refused',
  'conflict-resolved',
  'record-merged',
  'jobs-refused',
  'list-refused',
  'record-unreadable',
  'server-fails-at-record',
  'job-answer-lost',
  'download-refused',
  'list-endless',
  'scan-refused',
  'window-stuck',
  'channel-refused',
  'row-refused',
  'row-locked',
  'field-removed',
  'date-wrong',
  'host-clock-set',
  'database-clock-set',
  'crm-clock-set',
] as const;
export type Fault = (typeof faults)[number];

/** What a world is doing: its first load, a bulk read later on, a catch-up, or nothing but looks. */
const phases = ['loading', 'bulk', 'catch-up', 'quiet'] as const;
export type Phase = (typeof phases)[number];

/** How often each fault was met in each phase. */
export type Met = Readonly<Record<Fault, Readonly<Record<Phase, number>>>>;

/** Counts the faults that a world meets. */
export class Meetings {
  readonly #met = new Map<`${Fault}/${Phase}`, number>();
  readonly #phase: () => Phase;

  constructor(phase: () => Phase) {
    this.#phase = phase;
  }

  note(fault: Fault): void {
    const key = `${fault}/${this.#phase()}` as const;
    this.#met.set(key, (this.#met.get(key) ?? 0) + 1);
  }

  get all(): Met {
    return table((fault, phase) => this.#met.get(`${fault}/${phase}`) ?? 0);
  }
}

/** The meetings of many worlds. */
export const sumOf = (all: readonly Met[]): Met => table((fault, phase) => all.reduce((sum, met) => sum + met[fault][phase], 0));

/** Faults that were never met. */
export const neverMet = (met: Met): Fault[] => faults.filter((fault) => phases.every((phase) => met[fault][phase] === 0));

/** One line a fault, one column a phase. */
export function printed(met: Met): string {
  const lines = [['', ...phases], ...faults.map((fault) => [fault, ...phases.map((phase) => String(met[fault][phase]))])];
  return lines.map(([name = '', ...cells]) => name.padEnd(22) + cells.map((cell) => cell.padStart(10)).join('')).join('\n');
}

function table(count: (fault: Fault, phase: Phase) => number): Met {
  const row = (fault: Fault): Record<Phase, number> => Object.fromEntries(phases.map((phase) => [phase, count(fault, phase)])) as Record<Phase, number>;
  return Object.fromEntries(faults.map((fault) => [fault, row(fault)])) as Met;
}
