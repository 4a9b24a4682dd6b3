import type { Database } from './database.ts';
import { ms } from './epoch.ts';
import type { Incident } from './incidents.ts';

/** What an alert says of its incident. */
export type AlertEvent = 'opened' | 'closed';

/** An alert that is to be sent now. */
export type DueAlert = { readonly incident: Pick<Incident, 'id' | 'module' | 'kind' | 'openedAt' | 'closedAt' | 'details'>; readonly event: AlertEvent; readonly channel: string };

/** Which alerts have left. One that was sent and not noted, because the process ended in between, is sent again. */
export type Alerts = {
  /**
   * What is due on these channels, oldest incident first: of each that is open, or opened since; of one that closed, only after the other was sent.
   * @param since when the process began to send alerts, by the database's clock.
   */
  due(channels: readonly string[], since: Date): Promise<DueAlert[]>;
  sent(alert: DueAlert): Promise<void>;
  /** It is due again after a pause, which doubles up to an hour. */
  failed(alert: DueAlert, failure: string): Promise<void>;
};

const MOST_DUE = 50;

type Row = Omit<DueAlert['incident'], 'openedAt' | 'closedAt'> & { event: AlertEvent; channel: string; opened_at: number; closed_at: number | null };

/** Alerts in `lockstep.alert`. */
export const alerts = ({ pool }: Pick<Database, 'pool'>): Alerts => ({
  due: async (channels, since) => {
    await pool.query(
      `insert into lockstep.alert (incident_id, event, channel)
       select i.id, 'opened', c from lockstep.incident i, unnest($1::text[]) c where i.closed_at is null or i.opened_at >= $2
       on conflict do nothing`,
      [channels, since],
    );
    await pool.query(
      `insert into lockstep.alert (incident_id, event, channel)
       select a.incident_id, 'closed', a.channel from lockstep.alert a join lockstep.incident i on i.id = a.incident_id
       where a.event = 'opened' and a.sent_at is not null and i.closed_at is not null and a.channel = any($1)
       on conflict do nothing`,
      [channels],
    );
    const { rows } = await pool.query<Row>(
      `select i.id, i.module, i.kind, ${ms('i.opened_at', 'opened_at')}, ${ms('i.closed_at', 'closed_at')}, i.details, a.event, a.channel
       from lockstep.alert a join lockstep.incident i on i.id = a.incident_id
       where a.sent_at is null and a.next_at <= now() and a.channel = any($1) order by a.incident_id, a.event desc limit ${MOST_DUE}`,
      [channels],
    );
    return rows.map(({ event, channel, opened_at: openedAt, closed_at: closedAt, ...incident }) => ({ event, channel, incident: { ...incident, openedAt: new Date(openedAt), closedAt: closedAt === null ? null : new Date(closedAt) } }));
  },
  sent: async ({ incident, event, channel }) => void (await pool.query('update lockstep.alert set sent_at = now(), failure = null where incident_id = $1 and event = $2 and channel = $3', [incident.id, event, channel])),
  failed: async ({ incident, event, channel }, failure) => {
    await pool.query(
      `update lockstep.alert set tries = tries + 1, failure = $4, next_at = now() + least(interval '10 seconds' * 2 ^ least(tries, 10), interval '1 hour')
       where incident_id = $1 and event = $2 and channel = $3`,
      [incident.id, event, channel, failure],
    );
  },
});
