import { parseArgs } from 'node:util';
import { LocalStackError } from './errors.ts';
import { startStack } from './stack.ts';
import type { Stack, StackOptions } from './stack.ts';

/**
 * Runs the stack alone: prints where Kafka and Postgres are, and stays until SIGINT or SIGTERM, which ends both.
 * A signal that comes while they start takes effect once they have.
 */
const usage = 'usage: node tools/local-stack/src/main.ts [--fresh] [--data-dir <folder>] [--kafka-port <port>] [--postgres-port <port>]\n';

function readArguments(): StackOptions {
  const text = { type: 'string' } as const;
  const { values } = parseArgs({ options: { fresh: { type: 'boolean', default: false }, 'data-dir': text, 'kafka-port': text, 'postgres-port': text } });
  return {
    fresh: values.fresh,
    ...(values['data-dir'] === undefined ? {} : { dataDir: values['data-dir'] }),
    ...(values['kafka-port'] === undefined ? {} : { kafkaPort: portOf(values['kafka-port']) }),
    ...(values['postgres-port'] === undefined ? {} : { postgresPort: portOf(values['postgres-port']) }),
  };
}

function portOf(text: string): number {
  const port = Number(text);
  if (!Number.isInteger(port) || port < 1 || port > 65_535) throw new RangeError(`"${text}" is no port`);
  return port;
}

function report({ kafkaBrokers, databaseUrl, provider }: Stack): void {
  process.stdout.write(`KAFKA_BROKERS=${kafkaBrokers.join(',')}\nDATABASE_URL=${databaseUrl}\n`);
  process.stderr.write(`ready (Kafka: ${provider.kafka}, Postgres: ${provider.postgres}); Ctrl-C stops it\n`);
}

async function runUntilSignal(options: StackOptions): Promise<void> {
  const stopAsked = new Promise<void>((resolve) => {
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => resolve());
  });
  const stack = await startStack({ ...options, log: (line) => process.stderr.write(`${line}\n`) });
  const staysAwake = setInterval(() => undefined, 60_000); // services from the environment are no children that would
  report(stack);
  await stopAsked;
  clearInterval(staysAwake);
  await stack.stop();
}

function optionsOrUsage(): StackOptions | undefined {
  try {
    return readArguments();
  } catch (error) {
    process.stderr.write(`${(error as Error).message}\n${usage}`);
    process.exitCode = 2;
    return undefined;
  }
}

const options = optionsOrUsage();
try {
  if (options !== undefined) await runUntilSignal(options);
} catch (error) {
  if (!(error instanceof LocalStackError)) throw error;
  process.stderr.write(`${error.message}\n`);
  process.exitCode = 1;
}
