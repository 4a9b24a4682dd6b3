import { ConfigError, parseEnv } from '@lockstep/telemetry';
import { z } from 'zod';

const schema = z.object({
  ALERT_WEBHOOK_URL: z.url({ protocol: /^https?$/ }).optional().describe('where incidents are posted to, in the form of Slack'),
  ALERT_SMTP_URL: z.url({ protocol: /^smtps?$/ }).optional().describe('the mail server, e.g. smtps://user:password@mail.example.com'),
  ALERT_MAIL_FROM: z.string().min(3).optional().describe('the sender of mails about incidents'),
  ALERT_MAIL_TO: z.string().min(3).optional().describe('who gets mails about incidents, separated by commas'),
  ALERT_RUNBOOK_URL: z.string().default('docs/runbook.md').describe('where the runbook is, for links in alerts'),
});

/** Where alerts go: to none of them, to one, or to both. */
export type AlertConfig = {
  readonly webhookUrl: string | undefined;
  readonly mail: { readonly smtpUrl: string; readonly from: string; readonly to: readonly string[] } | undefined;
  readonly runbookUrl: string;
};

/** @throws {ConfigError} naming each variable that is missing or wrong. */
export function loadAlertConfig(env: NodeJS.ProcessEnv): AlertConfig {
  const { ALERT_WEBHOOK_URL: webhookUrl, ALERT_SMTP_URL: smtpUrl, ALERT_MAIL_FROM: from, ALERT_MAIL_TO: to, ALERT_RUNBOOK_URL: runbookUrl } = parseEnv(schema, env);
  if (smtpUrl === undefined && from === undefined && to === undefined) return { webhookUrl, mail: undefined, runbookUrl };
  const given = { ALERT_SMTP_URL: smtpUrl, ALERT_MAIL_FROM: from, ALERT_MAIL_TO: to };
  const missing = Object.entries(given).filter(([, value]) => value === undefined).map(([name]) => `${name}: is missing, and mail needs all of ${Object.keys(given).join(', ')}`);
  if (smtpUrl === undefined || from === undefined || to === undefined) throw new ConfigError(missing);
  return { webhookUrl, mail: { smtpUrl, from, to: to.split(',').map((one) => one.trim()) }, runbookUrl };
}
