export { type Clock, drivenClock, type DrivenClock, realClock } from './clock.ts';
export type { Faults } from './deliveries.ts';
export { AdminError } from './errors.ts';
export { defaultOptions, type SimulatorOptions, type TrafficOptions } from './options.ts';
export { type Random, seededRandom } from './random.ts';
export { truthOf, type TruthRecord } from './render/truth.ts';
export { type Simulator, startSimulator } from './simulator.ts';
export type { LiveRecord } from './store/live-record.ts';
export { Organisation } from './store/organisation.ts';
