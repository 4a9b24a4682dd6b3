import { createAdmin, createKafka } from '@lockstep/kafka';
import { defineModule, leads } from '@lockstep/modules';
import { connect, readEpsilon } from '@lockstep/postgres';
import { ModuleProjection } from '@lockstep/projection';
import { applyMapping, planMapping } from '@lockstep/rebuild';
import { createLogger } from '@lockstep/telemetry';

/* Plans or applies Leads with a field mapped that was only logged before, or fills a column by one UPDATE, which is the floor. Prints seconds, rows and the peak resident set as JSON. */

const [mode = '', brokers = '', url = ''] = process.argv.slice(2);
const mapped = defineModule({ ...leads, fields: [...leads.fields, { field: 'Record_Status__s', kind: 'text', column: 'record_status', type: 'text' }], alsoLogged: [] });
const db = await connect({ url, poolSize: 4 });
const kafka = createKafka({ config: { brokers: brokers.split(','), ssl: false, sasl: undefined }, clientId: 'bench', log: createLogger({ app: 'bench', level: 'silent', isPretty: false }) });
const admin = await createAdmin(kafka);
const deps = { pool: db.pool, kafka, admin };
const projection = new ModuleProjection(mapped, await readEpsilon(db));
const started = performance.now();
const sinceStart = (): number => (performance.now() - started) / 1000;

const modes: Record<string, () => Promise<object>> = {
  plan: async () => {
    const { rows } = await planMapping(deps, projection);
    return { rows, seconds: sinceStart() };
  },
  apply: async () => {
    const { rows, seconds, proof } = await applyMapping(deps, projection);
    return { rows, seconds, provenSeconds: sinceStart(), differences: Object.values(proof?.counts ?? {}).reduce((sum, count) => sum + count, 0) };
  },
  floor: async () => {
    const { rowCount } = await db.pool.query(`update leads set bare = 'Available'`);
    return { rows: rowCount, seconds: sinceStart() };
  },
};
const measured = await modes[mode]?.();
await admin.close();
await db.close();
process.stdout.write(JSON.stringify({ ...measured, rssMb: Math.round(process.resourceUsage().maxRSS / 1024) }));
