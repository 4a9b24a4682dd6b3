import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { copyFile, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { ChildService } from './child-service.ts';
import { brokenFolder, folderState } from './data-dir.ts';
import { freePort, portFor } from './free-port.ts';
import { assertServesGroups } from './kafka-admin.ts';
import { kafkaRuntime } from './kafka-jars.ts';
import type { KafkaRuntime } from './kafka-jars.ts';
import { endLeftOver } from './left-overs.ts';
import { restartable } from './restartable.ts';
import type { Crashable, ServiceOptions } from './service.ts';

/**
 * Apache Kafka as one JVM that is broker and controller (KRaft).
 *
 * Below the data folder: `kafka/` (the log; formatted beside it and renamed, so that it exists only whole), `kafka.properties`
 * (written at each start, for the ports change), `kafka.log` (the JVM's output), `kafka.process.json` (which process it is).
 */
const run = promisify(execFile);
// Bounds for what hangs: beside other work a start takes many times the usual seconds.
const readyWithinMs = 180_000;
const formatWithinMs = 180_000;
const logging = ['-Dorg.slf4j.simpleLogger.defaultLogLevel=warn', '-Dorg.slf4j.simpleLogger.showDateTime=true', "-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd'T'HH:mm:ss.SSSXX"];

/**
 * A broker for one machine lives for minutes and carries little: its optimising compiler costs more than it saves. Over a page of
 * 200,000 rows the broker took 2.4 s of CPU instead of 3.9 (2026-11-25).
 */
const forAWhile = ['-XX:TieredStopAtLevel=1', '-XX:+UseSerialGC'];

/** Starts the broker and returns once it serves consumer groups. */
export async function startEmbeddedKafka({ dataDir, port, isFresh, env, log }: ServiceOptions): Promise<Crashable & { brokers: string[]; stop(): Promise<void> }> {
  const runtime = await kafkaRuntime(env, log);
  const recordFile = join(dataDir, 'kafka.process.json');
  await endLeftOver(recordFile, 'SIGTERM', (pid) => log(`ending the Kafka broker that an earlier run left behind (process ${pid})`));
  if (isFresh) await rm(join(dataDir, 'kafka'), { recursive: true, force: true });
  await ensureFormatted(dataDir, runtime);
  const brokerPort = await portFor('Kafka', port);
  const config = await writeConfig(dataDir, join(dataDir, 'kafka'), { brokerPort, controllerPort: await freePort() });
  const brokers = [`127.0.0.1:${brokerPort}`];
  const logFile = join(dataDir, 'kafka.log');
  await rm(logFile, { force: true });
  const classes = sharedClasses(runtime, dataDir);
  const service = await restartable(async () => {
    const child = await ChildService.start({
      name: 'Kafka',
      command: runtime.java,
      args: ['-Xmx512m', ...forAWhile, ...classes.args, ...logging, '-cp', join(runtime.jarDir, '*'), 'kafka.Kafka', config],
      env,
      logFile,
      recordFile,
      stopSignal: 'SIGTERM',
    });
    await child.untilReady(() => assertServesGroups(brokers), readyWithinMs);
    return child;
  });
  const stop = async (): Promise<void> => {
    await service.stop();
    await classes.keep();
  };
  return { ...service, stop, brokers };
}

/**
 * Loading its classes is most of a broker's start. The first one of a checkout leaves them in an archive as it ends (4 s, once), and the
 * others map that: ready after 2.4 s instead of 4.0 (2 cores, 2026-11-25). An archive of another Java is ignored by the JVM.
 * @see JDK documentation, "Class Data Sharing", dynamic archives
 */
function sharedClasses({ classArchive }: KafkaRuntime, dataDir: string): { readonly args: readonly string[]; keep(): Promise<void> } {
  if (existsSync(classArchive)) return { args: [`-XX:SharedArchiveFile=${classArchive}`], keep: () => Promise.resolve() };
  const left = join(dataDir, 'kafka-classes.jsa');
  const keep = async (): Promise<void> => {
    // Another folder may be on another disk; and a reader sees a whole archive or none.
    const copy = `${classArchive}.${process.pid}`;
    await copyFile(left, copy);
    await rename(copy, classArchive);
    await rm(left);
  };
  // A broker that was killed left none, and the next one tries again.
  return { args: [`-XX:ArchiveClassesAtExit=${left}`], keep: () => keep().catch(() => undefined) };
}

async function ensureFormatted(dataDir: string, runtime: KafkaRuntime): Promise<void> {
  const logDir = join(dataDir, 'kafka');
  const state = await folderState(logDir, ['meta.properties', 'bootstrap.checkpoint']);
  if (state === 'broken') throw brokenFolder('Kafka', logDir, 'it is not a formatted log folder (meta.properties or bootstrap.checkpoint is missing)');
  if (state === 'absent') await format(dataDir, logDir, runtime);
  else await checkMetaProperties(logDir);
}

async function checkMetaProperties(logDir: string): Promise<void> {
  const meta = await readFile(join(logDir, 'meta.properties'), 'utf8');
  if (!/^cluster\.id=\S+$/m.test(meta) || !/^node\.id=1$/m.test(meta)) throw brokenFolder('Kafka', logDir, 'its meta.properties names no cluster, or another node');
}

async function format(dataDir: string, logDir: string, { java, jarDir, classArchive }: KafkaRuntime): Promise<void> {
  const beside = join(dataDir, 'kafka.formatting');
  await rm(beside, { recursive: true, force: true });
  const config = await writeConfig(dataDir, beside, { brokerPort: 9092, controllerPort: 9093 });
  // Base64 may begin with a dash, so the option takes it by "=".
  const clusterId = randomBytes(16).toString('base64url');
  // The broker's archive has most of what it needs, too: 0.6 s of CPU instead of 0.9.
  const classes = existsSync(classArchive) ? [`-XX:SharedArchiveFile=${classArchive}`] : [];
  await run(java, [...forAWhile, ...classes, ...logging, '-cp', join(jarDir, '*'), 'kafka.tools.StorageTool', 'format', `--cluster-id=${clusterId}`, '-c', config], { timeout: formatWithinMs });
  await rm(logDir, { recursive: true, force: true });
  await rename(beside, logDir);
}

async function writeConfig(dataDir: string, logDir: string, ports: { brokerPort: number; controllerPort: number }): Promise<string> {
  const file = join(dataDir, 'kafka.properties');
  await writeFile(file, serverProperties(logDir, ports));
  return file;
}

/**
 * One node, replication 1; one offsets partition, so that one answer about a group says that all groups are served. After a crash the
 * broker has to wait until the controller has forgotten its former self, nine seconds by default.
 */
const serverProperties = (logDir: string, { brokerPort, controllerPort }: { brokerPort: number; controllerPort: number }): string => `process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:${controllerPort}
listeners=PLAINTEXT://127.0.0.1:${brokerPort},CONTROLLER://127.0.0.1:${controllerPort}
advertised.listeners=PLAINTEXT://127.0.0.1:${brokerPort}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
inter.broker.listener.name=PLAINTEXT
controller.listener.names=CONTROLLER
log.dirs=${logDir}
auto.create.topics.enable=false
log.retention.ms=-1
offsets.topic.num.partitions=1
offsets.topic.replication.factor=1
transaction.state.log.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.num.partitions=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
broker.session.timeout.ms=4000
broker.heartbeat.interval.ms=1000
`;
