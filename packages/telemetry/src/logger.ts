import { pino, type Logger } from 'pino';

export type { Logger };

// Secrets never get into a log line, whatever object they come in.
const redact = ['token', 'secret', 'password', 'authorization', '*.token', '*.secret', '*.password', '*.authorization', '*.refreshToken', '*.clientSecret', 'req.headers.authorization'];

/**
 * The logger of an app: JSON lines on standard output; readable ones on a terminal.
 * @param level one of pino's; `LOG_LEVEL` in the environment, else `info`.
 */
export function createLogger({ app, level = 'info', isPretty = process.stdout.isTTY }: { app: string; level?: string | undefined; isPretty?: boolean }): Logger {
  return pino({
    name: app,
    level,
    redact: { paths: redact, censor: '(redacted)' },
    ...(isPretty ? { transport: { target: 'pino-pretty', options: { ignore: 'pid,hostname', translateTime: 'HH:MM:ss.l' } } } : {}),
  });
}
