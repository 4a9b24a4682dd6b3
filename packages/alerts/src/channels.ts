import { createTransport } from 'nodemailer';

import type { AlertConfig } from './config.ts';
import type { AlertMessage } from './message.ts';

/** One way by which alerts reach people. */
export type AlertChannel = {
  readonly name: 'webhook' | 'mail';
  /** @throws {Error} when it was not accepted, or not within ten seconds. */
  readonly send: (message: AlertMessage) => Promise<void>;
};

const SEND_WITHIN_MS = 10_000;

/** The channels that are configured; they keep no connection. */
export function alertChannels({ webhookUrl, mail }: Pick<AlertConfig, 'webhookUrl' | 'mail'>): AlertChannel[] {
  return [...(webhookUrl === undefined ? [] : [webhook(webhookUrl)]), ...(mail === undefined ? [] : [mailer(mail)])];
}

/** The form that Slack's incoming webhooks take, and most others as well. @see https://api.slack.com/messaging/webhooks */
const webhook = (url: string): AlertChannel => ({
  name: 'webhook',
  send: async ({ subject, text }) => {
    const reply = await fetch(url, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ text: `${subject}\n${text}` }), redirect: 'manual', signal: AbortSignal.timeout(SEND_WITHIN_MS) });
    await reply.body?.cancel();
    if (!reply.ok) throw new Error(`the webhook answered ${reply.status}`);
  },
});

function mailer({ smtpUrl, from, to }: NonNullable<AlertConfig['mail']>): AlertChannel {
  const transport = createTransport({ url: smtpUrl, connectionTimeout: SEND_WITHIN_MS, greetingTimeout: SEND_WITHIN_MS, socketTimeout: SEND_WITHIN_MS }, { from, to: [...to] });
  return { name: 'mail', send: async ({ subject, text }) => void (await transport.sendMail({ subject, text })) };
}
