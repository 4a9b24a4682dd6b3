import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { chmod, mkdir, mkdtemp, readFile, rename, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { checkoutDir } from './data-dir.ts';
import { LocalStackError } from './errors.ts';

const run = promisify(execFile);
const pom = join(import.meta.dirname, '..', 'kafka', 'pom.xml');
const downloadWithinMs = 300_000;
/** Kafka 4's brokers need Java 17 (Kafka 4.0 upgrade notes). */
const oldestJava = 17;

/** What starts a broker: the `java` command, the folder with the broker's jars, and where its classes are archived, once they are. */
export type KafkaRuntime = { readonly java: string; readonly jarDir: string; readonly classArchive: string };

/**
 * Finds Java, and fetches the jars of the pinned pom once a checkout; a later call takes them from the cache.
 * @throws {LocalStackError} `STACK_KAFKA_UNAVAILABLE` without Java 17 or Maven, `STACK_DOWNLOAD_FAILED`.
 */
export async function kafkaRuntime(env: NodeJS.ProcessEnv, log: (line: string) => void): Promise<KafkaRuntime> {
  const { java, javaVersion } = await findJava(env);
  const jarDir = await cachedJarDir();
  const hasJars = existsSync(jarDir);
  const hasMaven = hasJars || (await answers('mvn', ['--version'], env));
  if (javaVersion === undefined || javaVersion < oldestJava || !hasMaven) throw noWayToKafka({ javaVersion, hasMaven });
  if (!hasJars) await download(jarDir, env, log);
  return { java, jarDir, classArchive: join(jarDir, `broker-java${javaVersion}.jsa`) };
}

/** One folder per content of the pom, so that a new pin is a new download. */
async function cachedJarDir(): Promise<string> {
  const hash = createHash('sha256').update(await readFile(pom)).digest('hex').slice(0, 12);
  return join(checkoutDir, '.lockstep', 'kafka-jars', hash);
}

/** JAVA_HOME's, else the one on the PATH; the second also when the first is too old. */
async function findJava(env: NodeJS.ProcessEnv): Promise<{ java: string; javaVersion: number | undefined }> {
  const home = env['JAVA_HOME'] ? join(env['JAVA_HOME'], 'bin', 'java') : 'java';
  const javaVersion = await javaMajor(home, env);
  if (home !== 'java' && (javaVersion ?? 0) < oldestJava) return { java: 'java', javaVersion: await javaMajor('java', env) };
  return { java: home, javaVersion };
}

async function javaMajor(java: string, env: NodeJS.ProcessEnv): Promise<number | undefined> {
  try {
    const { stderr, stdout } = await run(java, ['-version'], { env, timeout: 20_000 });
    const major = /version "(\d+)/.exec(stderr + stdout)?.[1];
    return major === undefined ? undefined : Number(major);
  } catch {
    return undefined;
  }
}

async function answers(command: string, args: readonly string[], env: NodeJS.ProcessEnv): Promise<boolean> {
  return await run(command, args, { env, timeout: 30_000 }).then(
    () => true,
    () => false,
  );
}

function noWayToKafka({ javaVersion, hasMaven }: { javaVersion: number | undefined; hasMaven: boolean }): LocalStackError {
  const java = javaVersion === undefined ? 'no Java' : `Java ${javaVersion}`;
  const message = `Lockstep needs a Kafka broker and found no way to one. Take one of these three:
  1. install Java ${oldestJava} or newer and Maven: Lockstep then runs a broker of its own (found: ${java}, ${hasMaven ? 'Maven or its downloads' : 'no Maven'});
  2. run Docker: Lockstep then runs the broker in a container (no engine answered);
  3. set KAFKA_BROKERS=host:port[,host:port] to a broker you have.`;
  return new LocalStackError(message, { code: 'STACK_KAFKA_UNAVAILABLE' });
}

/** Into a folder of its own first: a download that was cut off is never taken for a whole one, and two at a time do not mix. */
async function download(jarDir: string, env: NodeJS.ProcessEnv, log: (line: string) => void): Promise<void> {
  log('fetching the Kafka broker with Maven (about 45 MB, once)');
  await mkdir(dirname(jarDir), { recursive: true });
  const partial = await mkdtemp(`${jarDir}.partial-`);
  try {
    const args = ['-q', '-B', '-ntp', '-f', pom, 'dependency:copy-dependencies', '-DincludeScope=runtime', `-DoutputDirectory=${partial}`];
    await run('mvn', args, { env, timeout: downloadWithinMs, maxBuffer: 10_000_000 });
    await chmod(partial, 0o755);
    await rename(partial, jarDir);
  } catch (cause) {
    if (!existsSync(jarDir)) throw downloadFailed(cause); // else another process was faster
  } finally {
    await rm(partial, { recursive: true, force: true });
  }
}

function downloadFailed(cause: unknown): LocalStackError {
  const output = (cause as { stdout?: string }).stdout?.trim().split('\n').slice(-10).join('\n') ?? '';
  const message = `Maven could not fetch the Kafka broker. Check its network and settings, run Docker, or set KAFKA_BROKERS.\n${output}`;
  return new LocalStackError(message, { code: 'STACK_DOWNLOAD_FAILED', retryable: true, cause });
}
