import { existsSync, readFileSync } from 'node:fs';
import { pipeline } from 'node:stream/promises';

import { createAdmin, createKafka } from '@lockstep/kafka';
import { leads } from '@lockstep/modules';
import { connect, readEpsilon } from '@lockstep/postgres';
import { ModuleProjection } from '@lockstep/projection';
import { rebuildModule, verifyModule } from '@lockstep/rebuild';
import { createLogger } from '@lockstep/telemetry';
import { from, to } from 'pg-copy-streams';

/* Verifies or rebuilds Leads, or copies the table, which is the floor. Prints seconds, differences and the peak resident set as JSON. */

const [mode = '', brokers = '', url = ''] = process.argv.slice(2);
const db = await connect({ url, poolSize: 4 });
const started = performance.now();
let differences = 0;
if (mode === 'floor') {
  await db.pool.query('create unlogged table public.floor as table public.leads with no data');
  const [reader, writer] = await Promise.all([db.pool.connect(), db.pool.connect()]);
  await pipeline(reader.query(to('copy public.leads to stdout')), writer.query(from('copy public.floor from stdin')));
  reader.release();
  writer.release();
  await db.pool.query('drop table public.floor');
} else {
  const kafka = createKafka({ config: { brokers: brokers.split(','), ssl: false, sasl: undefined }, clientId: 'bench', log: createLogger({ app: 'bench', level: 'silent', isPretty: false }) });
  const admin = await createAdmin(kafka);
  const deps = { pool: db.pool, kafka, admin };
  const projection = new ModuleProjection(leads, await readEpsilon(db));
  const { counts } = mode === 'verify' ? await verifyModule(deps, projection) : (await rebuildModule(deps, projection)).after;
  differences = Object.values(counts).reduce((sum, count) => sum + count, 0);
  await admin.close();
}
const seconds = (performance.now() - started) / 1000;
await db.close();
process.stdout.write(JSON.stringify({ seconds, differences, rssMb: peakRssMb() }));

/** The peak of this process; what the kernel says of its resource usage begins with that of the process that started it. */
function peakRssMb(): number {
  const status = existsSync('/proc/self/status') ? readFileSync('/proc/self/status', 'utf8') : '';
  return Math.round(Number(/VmHWM:\s+(\d+)/.exec(status)?.[1] ?? process.resourceUsage().maxRSS) / 1024);
}
