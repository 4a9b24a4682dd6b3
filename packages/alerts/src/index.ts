export { Alerter, createAlertCounter } from './alerter.ts';
export type { AlertCounter, AlerterDeps } from './alerter.ts';
export { loadAlertConfig } from './config.ts';
export type { AlertConfig } from './config.ts';
