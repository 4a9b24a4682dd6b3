/*
 * Checks a certificate that `lockstep verify <module> --certificate` printed, with nothing of Lockstep's: it folds the topic again and compares with the table.
 *   KAFKA_BROKERS=… DATABASE_URL=… node check-certificate.mjs certificate.json
 * 1. The topic up to the certificate's offsets has the rows and the digest that it names. 2. The topic up to where the projector stands now has those of the table now.
 * Exit code 0: both are equal; 1: one is not; 2: it could not be checked.
 * Needs Node 22.15 or newer, kafkajs and pg; keeps a module's records in memory.
 */
import { readFileSync } from 'node:fs';
import { zstdDecompressSync } from 'node:zlib';
import kafkajs from 'kafkajs';
import pg from 'pg';

/** Ends with what has to be given otherwise. */
function refuse(what) {
  process.stderr.write(`${what}\nKAFKA_BROKERS=… DATABASE_URL=… node check-certificate.mjs certificate.json\n`);
  process.exit(2);
}
process.on('uncaughtException', (error) => refuse(`cannot be checked: ${error.message || error.code}`));
// kafkajs waits for times that have passed, which Node warns of.
process.removeAllListeners('warning');

if (process.argv[2] === undefined) refuse('which certificate?');
for (const name of ['KAFKA_BROKERS', 'DATABASE_URL']) if (!process.env[name]) refuse(`${name} is not set`);
const { version, module, topic, table, columns, keyColumn, modifiedTimeColumn, deletedColumn, epsilonMs, positions, parked, rows, digest } = JSON.parse(readFileSync(process.argv[2], 'utf8'));
if (version !== 1) refuse(`${process.argv[2]} is no certificate of version 1`);
const all = [keyColumn, modifiedTimeColumn, ...(deletedColumn === null ? [] : [deletedColumn]), ...Object.values(columns)];
const quoted = all.map((name) => `"${name}"`).join(', ');
kafkajs.CompressionCodecs[kafkajs.CompressionTypes.ZSTD] = () => ({ decompress: async (bytes) => zstdDecompressSync(bytes) });

/** The messages of the topic before some offsets, in the order of each partition. */
async function read(ends) {
  const consumer = new kafkajs.Kafka({ brokers: process.env.KAFKA_BROKERS.split(','), logLevel: kafkajs.logLevel.NOTHING }).consumer({ groupId: `check-${crypto.randomUUID()}` });
  await consumer.connect();
  await consumer.subscribe({ topic, fromBeginning: true });
  const messages = [];
  const left = new Set([...ends].filter(([, end]) => end > 0).map(([partition]) => partition));
  await new Promise((resolve, reject) => {
    if (left.size === 0) resolve();
    consumer.on('consumer.crash', ({ payload }) => reject(payload.error));
    void consumer.run({ autoCommit: false, eachMessage: async ({ partition, message }) => {
      if (Number(message.offset) < ends.get(partition)) messages.push({ partition, offset: Number(message.offset), value: message.value?.toString() ?? '' });
      if (Number(message.offset) + 1 >= ends.get(partition) && left.delete(partition) && left.size === 0) resolve();
    } });
  });
  await consumer.disconnect();
  return messages;
}

/** Last writer wins: the greatest (version time, look, hash) of each record stands, unless it was deleted later than it was looked at. */
function fold(messages, skipped) {
  const records = new Map();
  const coverages = new Map();
  const isAlive = (record) => record.o !== undefined && (record.d === undefined || record.o > record.d + epsilonMs);
  const versionOf = ({ m, t = m, o, hash }) => [t, o, hash, m];
  const isNewer = (a, b) => { const at = a.findIndex((part, i) => part !== b[i]); return at >= 0 && a[at] > b[at]; };
  for (const { partition, offset, value } of messages) {
    if (skipped.has(`${partition}/${offset}`)) continue;
    let event;
    try { event = JSON.parse(value); } catch { continue; }
    if (event.type === 'coverage') { coverages.set(event.coverage, event.fields); continue; }
    const record = records.get(event.id) ?? { fields: {} };
    if (event.type === 'deleted') record.d = Math.max(record.d ?? event.d + 999, event.d + 999);
    else if (event.type === 'confirmed') {
      const { t = event.m } = event;
      const isSame = record.o !== undefined && record.m === event.m && (record.t ?? record.m) === t && record.hash === event.hash && event.o > record.o;
      if (isSame && isAlive({ ...record, o: event.o }) === isAlive(record)) record.o = event.o;
    } else if (record.o === undefined || isNewer(versionOf(event), versionOf(record))) {
      const { m, t, o, hash } = event;
      Object.assign(record, { m, t, o, hash });
      coverages.get(event.coverage).forEach((field, i) => { record.fields[field] = event.fields[i]; });
    } else continue;
    if (deletedColumn === null && !isAlive(record)) record.fields = {};
    records.set(event.id, record);
  }
  const rowOf = ([id, record]) => [id, new Date(record.m).toISOString(), ...(deletedColumn === null ? [] : [isAlive(record) ? null : new Date(record.d - 999).toISOString()]), ...Object.keys(columns).map((field) => record.fields[field] ?? null)];
  return [...records].filter(([, record]) => record.o !== undefined && (deletedColumn !== null || isAlive(record))).map(rowOf);
}

const client = new pg.Client(process.env.DATABASE_URL);
await client.connect();
await client.query(`set timezone = 'UTC'; set datestyle = 'ISO'; set extra_float_digits = 1; begin isolation level repeatable read`);
const name = `"${table.schema}"."${table.name}"`;
const digestOf = async (from) => (await client.query(`select count(*)::int as rows, encode(sha256(coalesce(string_agg(hash, '' order by hash), '')), 'hex') as digest from (select sha256(convert_to(row(${quoted})::text, 'UTF8')) as hash from ${from} where "${keyColumn}" is not null) h`)).rows[0];
await client.query(`create temp table expected as select ${quoted} from ${name} with no data`);
const { rows: typed } = await client.query(`select attname, format_type(atttypid, atttypmod) as type from pg_attribute where attrelid = 'expected'::regclass and attnum > 0 order by attnum`);
const digestOfLog = async (found) => {
  await client.query('truncate expected');
  for (let i = 0; i < found.length; i += 1000) await client.query(`insert into expected select ${typed.map(({ type }, n) => `u.c${n}::${type}`).join(', ')} from unnest(${typed.map((_, n) => `$${n + 1}::text[]`).join(', ')}) u (${typed.map((_, n) => `c${n}`).join(', ')})`, typed.map((_, n) => found.slice(i, i + 1000).map((row) => row[n])));
  return await digestOf('expected');
};
const { rows: standing } = await client.query('select partition, next_offset::int as end from lockstep.projection_offset where topic = $1', [topic]);
const { rows: aside } = await client.query(`select partition, log_offset::int as offset from lockstep.parked where module = $1 and (resolved_at is null or value is not null or not retryable)`, [module]);
const now = await digestOf(name);
const [then, today] = [new Map(positions.map(({ partition, end }) => [partition, end])), new Map(standing.map(({ partition, end }) => [partition, end]))];
const messages = await read(new Map([...today].map(([partition, end]) => [partition, Math.max(end, then.get(partition) ?? 0)])));
const before = (ends) => messages.filter(({ partition, offset }) => offset < (ends.get(partition) ?? 0));
const places = (list) => new Set(list.map(({ partition, offset }) => `${partition}/${offset}`));
const logThen = await digestOfLog(fold(before(then), places(parked)));
const logNow = await digestOfLog(fold(before(today), places(aside)));
await client.query('rollback');
await client.end();
const say = (what, one, other) => {
  const isEqual = one.rows === other.rows && one.digest === other.digest;
  if (!isEqual) process.exitCode = 1;
  process.stdout.write(`${isEqual ? 'equal' : 'DIFFERENT'}: ${what}: ${one.rows} rows, ${one.digest}${isEqual ? '' : `; ${other.rows} rows, ${other.digest}`}\n`);
};
say('certificate and log', { rows, digest }, logThen);
say('table and log, now', now, logNow);
