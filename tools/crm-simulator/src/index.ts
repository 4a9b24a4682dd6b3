export { type Clock, drivenClock, type DrivenClock, realClock } from './clock.ts';
export type { Faults } from './deliveries.ts';
export { AdminError } from './errors.ts';
export { defaultOptions, type SimulatorOptions, type TrafficOptions } from './options.ts';
export type { TruthRecord } from './render/truth.ts';
export { type Simulator, startSimulator } from './simulator.ts';
