import { openBulkZip, readRows } from '@lockstep/bulk-file';
import { leads } from '@lockstep/modules';
import { connect, copyInto } from '@lockstep/postgres';

/*
 * The floor: ZIP → csv-parse → COPY and a guarded merge, 10,000 rows a transaction on one connection; no Kafka, no register, no
 * canonical form. What the log and the register cost is what Lockstep takes above it. Prints seconds as JSON.
 */

const [file = '', databaseUrl = ''] = process.argv.slice(2);
const BATCH = 10_000;
const columns = ['id', 'modified_time', ...leads.fields.map(({ column }) => column)];
const list = columns.map((column) => `"${column}"`).join(', ');

const started = performance.now();
const db = await connect({ url: databaseUrl, poolSize: 2 });
const client = await db.pool.connect();
await client.query('drop table if exists floor_leads; create table floor_leads (like leads including defaults); alter table floor_leads add primary key (id)');
await client.query(`create temp table stage on commit delete rows as select ${list} from leads with no data`);

const merge = `insert into floor_leads (${list}) select ${list} from stage
  on conflict (id) do update set ${columns.slice(1).map((column) => `"${column}" = excluded."${column}"`).join(', ')} where excluded.modified_time > floor_leads.modified_time`;
const escape = (cell: string): string => (cell === '' ? '\\N' : /[\\\n\r\t]/.test(cell) ? cell.replaceAll('\\', '\\\\').replaceAll('\n', '\\n').replaceAll('\r', '\\r').replaceAll('\t', '\\t') : cell);

let order: number[] = [];
let lines: string[] = [];
let rows = 0;
const flush = async (): Promise<void> => {
  await client.query('begin');
  await copyInto(client, `stage (${list})`, Buffer.from(lines.join('')));
  await client.query(merge);
  await client.query('commit');
  rows += lines.length;
  lines = [];
};
for await (const batch of readRows((await openBulkZip(file)).open(), () => undefined)) {
  for (const row of batch) {
    if (order.length === 0) {
      const at = new Map(row.map((name, index) => [name.toLowerCase(), index]));
      order = ['id', 'modified_time', ...leads.fields.map(({ field }) => field.toLowerCase())].map((name) => at.get(name) as number);
      continue;
    }
    lines.push(`${order.map((index) => escape(row[index] ?? '')).join('\t')}\n`);
    if (lines.length === BATCH) await flush();
  }
}
if (lines.length > 0) await flush();
const seconds = (performance.now() - started) / 1000;
await client.query('drop table floor_leads');
client.release(true);
await db.close();
process.stdout.write(JSON.stringify({ seconds, rows }));
