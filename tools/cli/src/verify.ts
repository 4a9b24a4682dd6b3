import { createAdmin, createKafka, loadKafkaConfig } from '@lockstep/kafka';
import { findModule, type ModuleDefinition, modules } from '@lockstep/modules';
import { connect, DatabaseError, loadPostgresConfig, migrate, readEpsilon, sqlState } from '@lockstep/postgres';
import { ModuleProjection, ProjectionError } from '@lockstep/projection';
import { type Difference, RebuildError, type Rebuilt, type Verification, type VerifyDeps } from '@lockstep/rebuild';
import { createLogger } from '@lockstep/telemetry';

import { UsageError } from './errors.ts';

/**
 * Does something with a module's log and table.
 * @param mayCreate whether schema `lockstep` is created where it is missing.
 * @throws {RebuildError} `DIFFERENT`; {@link UsageError} for an unknown module, and where log, mapping or table do not allow it; it says what to do.
 */
export async function onModule<T>(env: NodeJS.ProcessEnv, name: string, { mayCreate }: { readonly mayCreate: boolean }, work: (deps: VerifyDeps, projection: ModuleProjection) => Promise<T>): Promise<T> {
  const module = knownModule(name);
  const log = createLogger({ app: 'cli', level: 'silent', isPretty: false });
  const kafka = createKafka({ config: loadKafkaConfig(env), clientId: 'lockstep-cli', log });
  const db = await connect(loadPostgresConfig(env));
  try {
    if (mayCreate) await migrate(db, [module]);
    const admin = await createAdmin(kafka);
    try {
      return await work({ pool: db.pool, kafka, admin }, new ModuleProjection(module, await readEpsilon(db)));
    } finally {
      await admin.close();
    }
  } catch (error) {
    if (['42P01', '3F000'].includes(sqlState(error))) throw new UsageError(`${module.apiName} was never projected into this database: ${(error as Error).message}. "lockstep rebuild ${module.slug}" does it`);
    if (error instanceof RebuildError && error.code === 'DIFFERENT') throw error;
    if (error instanceof RebuildError || error instanceof ProjectionError || error instanceof DatabaseError) throw new UsageError(error.message);
    throw error;
  } finally {
    await db.close();
  }
}

const number = new Intl.NumberFormat('en-US');

/** Shows how far a reading is, with rate and time left, on a terminal: one line, twice a second. */
export function progress(what: string): (at: { readonly messages: number; readonly ofMessages: number }) => void {
  const started = performance.now();
  let shown = started;
  return ({ messages, ofMessages }) => {
    const now = performance.now();
    if (!process.stderr.isTTY || now - shown < 500) return;
    shown = now;
    const rate = messages / ((now - started) / 1000);
    process.stderr.write(`\r${what}: ${number.format(messages)} of ${number.format(ofMessages)} messages, ${number.format(Math.round(rate))}/s, ${Math.ceil((ofMessages - messages) / rate)} s left\u001B[K${messages === ofMessages ? '\r\u001B[K' : ''}`);
  };
}

/** What was compared, and each difference, for people. */
export function verificationText({ module, topic, positions, messages, records, parked, counts, found }: Verification): string {
  const upTo = positions.map(({ partition, end }) => `${partition}/${end}`).join(', ');
  const kinds = Object.entries(counts);
  return [
    `${module}: ${number.format(records)} records by ${number.format(messages)} messages of ${topic}, up to ${upTo}${parked === 0 ? '' : `; ${number.format(parked)} messages are parked, and not part of it`}`,
    kinds.length === 0 ? 'register and table are what the log says: no difference' : kinds.map(([kind, count]) => `${kind}: ${number.format(count)}`).join('; '),
    ...found.map(differenceText),
    ...kinds.filter(([kind, count]) => count > found.filter((one) => one.kind === kind).length).map(([kind]) => `… more of "${kind}": --limit names more`),
    '',
  ].join('\n');
}

function differenceText(one: Difference): string {
  switch (one.kind) {
    case 'row missing':
      return `  ${one.id}  ${one.kind}; its content stands at ${one.partition}/${one.offset}`;
    case 'row too many':
      return `  ${one.id}  ${one.kind}: ${one.isUnknown ? 'the log says nothing of it' : 'the log says that it was deleted'}`;
    case 'row differs':
      return one.values.map(({ column, inTable, byLog, partition, offset }) => `  ${one.id}  ${column} is ${JSON.stringify(inTable)}, and by ${partition}/${offset} ${JSON.stringify(byLog)}`).join('\n');
    case 'register entry differs':
      return one.values.map(({ column, inTable, byLog }) => `  ${one.id}  register: ${column} is ${inTable ?? 'null'}, and by the log ${byLog ?? 'null'}`).join('\n');
    case 'register entry missing':
    case 'register entry too many':
      return `  ${one.id}  ${one.kind}`;
    case 'content does not fit':
      return `  ${one.id}  the content at ${one.partition}/${one.offset} does not fit the table: ${one.cause}`;
  }
}

/** What was written, and what is left, for people. */
export function rebuiltText({ claims, replayed, before, rows, entries, left, after }: Rebuilt): string {
  const isUnknownLeft = after.found.some((one) => one.kind === 'row too many' && one.isUnknown);
  return [
    ...(claims.status === 'restored' ? [`by the log the CRM was read up to ${claims.upTo.toISOString()}: catch-ups go on from there`] : []),
    ...(claims.status === 'unreadable' ? [`${claims.problem}. The scheduler loads the module again`] : []),
    ...(replayed === 0 ? [] : [`${number.format(replayed)} messages were applied to an empty register`]),
    ...(Object.keys(before.counts).length === 0 ? [] : ['found:', verificationText(before).trimEnd()]),
    `written: ${number.format(rows)} ${rows === 1 ? 'row' : 'rows'} and ${number.format(entries)} register ${entries === 1 ? 'entry' : 'entries'}`,
    ...left.map(({ id, cause }) => `  ${id}  cannot be written: ${cause}`),
    verificationText(after).trimEnd(),
    ...(isUnknownLeft ? ['rows that the log says nothing of stay, as another application may have made them; --remove-unknown removes them'] : []),
    '',
  ].join('\n');
}

/** The modules that are kept in step, by API name. */
export function mappedNames(env: NodeJS.ProcessEnv): readonly string[] {
  const names = env['LOCKSTEP_MODULES'];
  return names === undefined ? modules.map(({ apiName }) => apiName) : names.split(',').map((name) => name.trim());
}

/** @throws {UsageError} for an unknown module. */
export function knownModule(name: string): ModuleDefinition {
  try {
    return findModule(name);
  } catch (error) {
    throw new UsageError((error as Error).message);
  }
}
