import { type Alerts, alerts, type Database, databaseNow } from '@lockstep/postgres';
import { Counter, type Logger, type Registry } from '@lockstep/telemetry';

import { type AlertChannel, alertChannels } from './channels.ts';
import type { AlertConfig } from './config.ts';
import { alertMessage } from './message.ts';

export type AlerterDeps = { readonly db: Pick<Database, 'pool'>; readonly config: AlertConfig; readonly count: AlertCounter; readonly log: Logger };

export type AlertCounter = Counter<'channel' | 'outcome'>;

/** What is counted of alerts. One set a process, or a test. */
export const createAlertCounter = (registry: Registry): AlertCounter => new Counter({ name: 'lockstep_scheduler_alerts_total', help: 'Alerts sent, and attempts that failed', labelNames: ['channel', 'outcome'], registers: [registry] });

/** Sends alerts about incidents: once when one opens, and once when it closes, on every channel that is configured. */
export class Alerter {
  readonly #channels: readonly AlertChannel[];
  readonly #alerts: Alerts;
  readonly #since: Date;
  readonly #deps: AlerterDeps;

  private constructor(deps: AlerterDeps, since: Date) {
    this.#deps = deps;
    this.#channels = alertChannels(deps.config);
    this.#alerts = alerts(deps.db);
    this.#since = since;
  }

  static async start(deps: AlerterDeps): Promise<Alerter> {
    return new Alerter(deps, await databaseNow(deps.db));
  }

  /** Sends what is due. One channel that fails holds up no other, and is tried again later. */
  async round(): Promise<void> {
    if (this.#channels.length === 0) return;
    const due = await this.#alerts.due(this.#channels.map(({ name }) => name), this.#since);
    await Promise.all(this.#channels.map((channel) => this.#sendAll(channel, due.filter((one) => one.channel === channel.name))));
  }

  async #sendAll({ name, send }: AlertChannel, due: Awaited<ReturnType<Alerts['due']>>): Promise<void> {
    const { log, config, count } = this.#deps;
    for (const alert of due) {
      try {
        await send(alertMessage(alert, config.runbookUrl));
      } catch (error) {
        count.inc({ channel: name, outcome: 'failed' });
        log.warn({ err: error, channel: name, incident: alert.incident.id }, 'an alert could not be sent; it will be tried again');
        // What follows would most likely fail as well: it is left for the next round.
        return await this.#alerts.failed(alert, error instanceof Error ? error.message : String(error));
      }
      await this.#alerts.sent(alert);
      count.inc({ channel: name, outcome: 'sent' });
    }
  }
}
